"""Single and repeated points to masks (Segment Anything, section 7.1)."""
