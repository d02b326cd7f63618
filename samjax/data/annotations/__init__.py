"""Readers of annotated data sets, in the formats they come in."""
