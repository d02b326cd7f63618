"""samjax: pretrain Segment Anything models in JAX."""

__version__ = "0.1.0"
