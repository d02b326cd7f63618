"""A class for every pixel of photos of any size."""
