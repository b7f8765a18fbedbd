"""From a field of occupancy logits to a closed mesh."""
