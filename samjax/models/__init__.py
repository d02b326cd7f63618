"""Models: a file or folder per family."""
