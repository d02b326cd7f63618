"""Instance segmentation from the boxes of a detector."""
