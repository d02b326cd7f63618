"""Segment Anything, in the paper's sizes and in two that a laptop trains."""
