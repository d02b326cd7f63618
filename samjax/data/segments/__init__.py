"""Training data of photos whose every pixel has a class."""
