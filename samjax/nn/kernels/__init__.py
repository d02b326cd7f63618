"""Attention over token maps with decomposed relative position: one definition, and ways to compute it."""
