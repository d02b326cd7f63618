"""A training step compiled for chips that are not there: what it needs and how fast it can be at best."""
