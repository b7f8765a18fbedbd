"""Files: meshes, catalogue, shape files, pack shards."""
