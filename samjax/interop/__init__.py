"""Imports and exports weights of other codebases, both from one table per family."""
