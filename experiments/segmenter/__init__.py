"""Segmenter (Strudel et al. 2021)."""
