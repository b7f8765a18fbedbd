"""Raw datasets: their layout, catalogue, splits and state."""
