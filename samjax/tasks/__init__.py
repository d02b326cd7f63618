"""One file per objective: what a run trains, on which batches, and how it is validated."""
