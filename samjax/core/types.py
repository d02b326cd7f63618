"""The names of `struct`, `batches` and `prompts` under their old address."""

from samjax.core.batches import Batch, unpack_masks, valid_pixels
from samjax.core.prompts import MaskOutput, PointLabel, Prompts
from samjax.core.struct import struct

__all__ = ["Batch", "MaskOutput", "PointLabel", "Prompts", "struct", "unpack_masks", "valid_pixels"]
