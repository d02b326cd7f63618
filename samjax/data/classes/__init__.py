"""What the values of label maps mean: classes with names and colours, of known data sets and of one's own."""
