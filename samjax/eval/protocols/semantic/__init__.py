"""Semantic segmentation: one confusion matrix over a data set, at the photos' own resolution."""
