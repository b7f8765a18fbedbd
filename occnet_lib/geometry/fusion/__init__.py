"""Fusion: from a triangle soup to one closed surface, by way of a signed field on a regular grid.

`surfaces` is the entrance: one function per method (`watertight.method`), each of which calls the others in this order.

Samples are stored in `bricks` of 8×8×8 next to the surface; `rays` holds the triangles for ray casting.

1. Sign: which samples are outside, without using the orientation of the faces.

   * `flood_fill` (method `flood_fill`, the default): what a flood from the border reaches through gaps wide enough. On
     each level of the grid, from coarse to fine, it stores the bricks near the triangles, computes the unsigned
     distance and which grid edges cross a triangle (`distance_band`), and labels the samples (`merge_tree`).
   * `carving` (method `carving`): what at least one of many depth maps sees (`depth_maps` renders them).
     `surfaces.resolve_near` then labels the samples next to the surface by their neighbours, which depth maps cannot do.
     Both work on whole arrays.
   * `tsdf` (method `tsdf`): ONet's rule, the mean over the views of truncated depth differences. It makes a whole
     field, so that step 2 and the features of step 3 do not apply.

2. Magnitude: `distance_band` gives the exact distance to the closest triangle next to the surface, and which triangle
   that is. `thin_sheets` lowers the field around surfaces with free space on both sides so that they have an inside.
3. Surface: `marching` extracts the zero set by marching cubes. `sharp_features` moves its vertices onto the input and
   restores edges and corners.

Arrays over stored samples are flat (`bricks.Bricks`), whole arrays are indexed [x, y, z]; lengths are in voxels from
sample (0, 0, 0) of a `geometry.grid.Grid` unless a docstring says otherwise. Fields are negative inside.
"""
