"""What is saved and how (Orbax)."""
