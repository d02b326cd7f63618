"""Config, state, step and loop of a training run."""
