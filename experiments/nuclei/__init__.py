"""Nuclei in microscopy."""
