"""Average precision and recall as COCO and LVIS count them: no model is needed."""
