"""Datasets in the layouts of other projects: ONet, noisypixel, vector-set models."""
