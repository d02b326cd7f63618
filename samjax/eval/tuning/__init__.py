"""Settings of automatic masks, chosen on annotated photos."""
