"""Pyramid vision transformers with Semantic FPN (Wang et al. 2021, 2022)."""
