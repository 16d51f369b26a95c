"""Heads of 3D Gaussians that a moving mesh drives: files, binding, rasterisation, fitting.

Axis letters: N splats, K coefficients of spherical harmonics, V vertices, F triangles, H W picture.
"""
