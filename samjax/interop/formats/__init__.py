"""Formats that other software reads, one file each."""
