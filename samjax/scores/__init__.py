"""Average precision and recall as COCO and LVIS count them, and errors of depth: no model is needed."""
