"""Masks that exist already, scored as a segmenter's."""
