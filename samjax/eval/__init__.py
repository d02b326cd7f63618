"""Evaluation protocols and their pictures."""
