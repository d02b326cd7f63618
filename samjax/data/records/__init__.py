"""Record schemas, one a file: what a record of a task holds, and its bytes."""
