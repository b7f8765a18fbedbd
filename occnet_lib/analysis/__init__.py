"""Figures about the data and the networks: statistics, projections, embeddings."""
