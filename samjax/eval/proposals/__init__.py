"""Object proposals."""
