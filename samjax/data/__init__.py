"""From records to fixed-shape batches, in NumPy until the transfer to the devices."""
