"""Masks from a trained model: for prompts, and without any."""
