"""Stages: (record, config section, rng) to record; per-shape files and failures at the edge."""
