"""Record schemas, one per file: what a record holds, and how it is encoded."""
