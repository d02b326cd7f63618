"""Weights of other codebases, in and out, from one table."""
