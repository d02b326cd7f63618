"""Segmentation by queries: each learns to find one segment, and says its class and its mask."""
