"""Dense prediction: a backbone and a head, for a class or a depth at every pixel."""
