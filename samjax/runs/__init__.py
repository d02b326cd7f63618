"""What runs wrote: their metrics and configs, read and compared."""
