"""Schedule, layer-wise decay and the AdamW chain of the pretraining recipe."""
