"""Masks as run lengths and packed bits; which of them are used, and how they are resized."""
