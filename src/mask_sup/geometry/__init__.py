"""Pure functions of tensors: cameras, triangulation, alignment, geodesic weights, segments."""
