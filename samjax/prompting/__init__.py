"""The simulated annotator, on device. It is independent of the model: it calls a `decode_fn`."""
