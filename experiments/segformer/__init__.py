"""SegFormer (Xie et al. 2021)."""
