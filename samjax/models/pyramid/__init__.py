"""Pyramid vision transformers: PVT, PVT v2 and SegFormer's encoder."""
