"""Folders that other software reads, a file each."""
