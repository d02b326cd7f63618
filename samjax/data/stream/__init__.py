"""From records to global batches on the devices, of any task: order, decoding, assembly, position."""
