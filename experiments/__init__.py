"""Experiments: a Python file per run, whose `config()` says what is trained and how."""
