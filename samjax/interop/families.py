"""The families of models that samjax imports and exports. The first family that recognises the keys of a state dict
reads it."""

from samjax.interop.family import Family
from samjax.interop.tables.dpt_family import DPT
from samjax.interop.tables.hrformer import HRFORMER
from samjax.interop.tables.mae import MAE
from samjax.interop.tables.pvt import PVT
from samjax.interop.tables.sam import SAM
from samjax.interop.tables.segformer import SEGFORMER
from samjax.interop.tables.segmenter import SEGMENTER
from samjax.interop.tables.setr import SETR

# First those whose keys others have in part: a dense model holds a backbone, with which alone another family starts.
# MAE's encoder has a plain ViT's keys, as has a Segmenter's backbone; any other plain ViT begins a Segment Anything.
FAMILIES: tuple[Family, ...] = (PVT, SEGFORMER, MAE, SETR, SEGMENTER, HRFORMER, DPT, SAM)
