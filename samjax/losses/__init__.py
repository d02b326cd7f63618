"""Focal, dice and IoU losses, and their sum over the rounds of an interaction."""
