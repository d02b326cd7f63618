"""Losses: focal, dice and IoU of masks with their sum over the rounds of an interaction; of relative depth."""
