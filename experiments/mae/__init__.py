"""Masked autoencoders: the paper's sizes, and one that a laptop trains."""
