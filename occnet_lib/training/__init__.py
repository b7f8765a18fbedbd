"""Training: items from pack shards, the Lightning module, the run."""
