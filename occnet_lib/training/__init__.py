"""Training: data from pack shards, the Lightning module, the training run."""
