"""Metrics, baselines and the tables that compare models."""
