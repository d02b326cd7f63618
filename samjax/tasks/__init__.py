"""A file an objective: what a run trains, on which batches, and what validates it."""
