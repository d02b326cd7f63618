"""The data engine's annotator: people and a model make masks of a folder of photos (Segment Anything, section 4)."""
