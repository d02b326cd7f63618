"""What `import samjax` offers, and what the commands of the same names do: prepare records, train, load."""
