"""Segments of photos: what queries say, merged into a map without overlaps, or ranked as instances."""
