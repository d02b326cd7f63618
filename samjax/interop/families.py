"""The families of models that samjax imports and exports. The first family that recognises the keys of a state dict
reads it."""

from samjax.interop.family import Family
from samjax.interop.tables.mae import MAE
from samjax.interop.tables.sam import SAM

FAMILIES: tuple[Family, ...] = (MAE, SAM)  # MAE's encoder has a plain ViT's keys, which else begins a SAM
