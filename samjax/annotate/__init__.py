"""Masks that people make in a browser: their folder, its events, who works on which photo, and what came of it."""
