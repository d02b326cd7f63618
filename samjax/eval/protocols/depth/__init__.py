"""Depth from a single photo: errors of each photo, at its own resolution (Eigen et al. 2014)."""
