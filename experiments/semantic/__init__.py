"""Semantic segmentation: SegFormer and its relatives."""
