"""A training step compiled for absent hardware: what it needs, and how fast it can be at best."""
