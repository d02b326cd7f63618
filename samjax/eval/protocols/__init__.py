"""What is measured on a data set, one protocol a folder."""
