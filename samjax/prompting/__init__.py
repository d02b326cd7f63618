"""The simulated annotator, on device. Knows no model: it drives a `decode_fn`."""
