"""Photos with nested masks, drawn from a seed: no data set is needed."""
