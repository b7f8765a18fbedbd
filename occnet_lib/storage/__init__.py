"""Files: meshes, raw datasets, shape files, pack files, tables, locks."""
