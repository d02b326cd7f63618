"""Edges by the benchmark of BSDS500."""
