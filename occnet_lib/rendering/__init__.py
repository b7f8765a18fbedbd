"""Images of meshes: one camera model, two renderers."""
