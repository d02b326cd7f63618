"""Masks as run lengths and packed bits: selection and resampling."""
