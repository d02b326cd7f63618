"""Layers that every transformer here is made of."""
