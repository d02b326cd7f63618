"""The data engine: people and a model make masks together, in a browser page that this package serves."""
