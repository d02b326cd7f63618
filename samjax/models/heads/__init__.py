"""Heads that turn a backbone's maps into logits of a class for every pixel."""
