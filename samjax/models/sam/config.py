"""The configs of a Segment Anything model, each of which lives beside the module it configures."""

from samjax.models.sam.image_encoder import ImageEncoderConfig as ImageEncoderConfig
from samjax.models.sam.mask_decoder import MaskDecoderConfig as MaskDecoderConfig
from samjax.models.sam.sam import SamConfig as SamConfig
from samjax.nn.spatial_attention import AttentionKernel as AttentionKernel
