"""The plain vision transformer: a backbone of its own, and Segment Anything's image encoder without its neck."""
