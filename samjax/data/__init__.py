"""SA-1B-style records in, fixed-shape batches out. NumPy until the last line."""
