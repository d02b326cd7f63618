"""Masks for prompts that a caller gives."""
