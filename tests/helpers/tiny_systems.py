"""Every system of dense prediction at a size that a laptop trains in a minute: 96 x 96 pixels, two classes, or what a
head needs at the least."""

from helpers.tiny_dense import tiny_dense
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.models.heads.all_mlp import AllMlpConfig
from samjax.models.heads.dpt import DptSegmentationConfig
from samjax.models.heads.fpn import FpnConfig
from samjax.models.heads.linear import LinearConfig
from samjax.models.heads.mask_transformer import MaskTransformerConfig
from samjax.models.heads.mla import MlaConfig
from samjax.models.heads.ocr import OcrConfig
from samjax.models.heads.progressive import ProgressiveConfig
from samjax.models.hrnet.hrnet import HrnetConfig
from samjax.models.pyramid.pyramid import PyramidConfig
from samjax.models.resnet import ResNetConfig
from samjax.models.vit.dpt_vit import DptVitConfig
from samjax.models.vit.tapped_vit import TappedVitConfig

_PYRAMID = {"widths": (32, 64, 80, 128), "depths": (1, 1, 1, 1)}
_VIT = {"width": 48, "depth": 4, "heads": 3, "patch": 4}


def _model(encoder, head) -> DenseConfig:
    return tiny_dense(classes=head.LEAST_CLASSES, image_size=(96, 96), encoder=encoder, head=head)


SYSTEMS: dict[str, DenseConfig] = {
    "segformer": _model(PyramidConfig(**_PYRAMID), AllMlpConfig(width=64)),
    "pvt-fpn": _model(PyramidConfig.pvt_tiny(**_PYRAMID), FpnConfig(pyramid_width=32, width=32)),
    "pvt-v2-li-fpn": _model(PyramidConfig.pvt_v2_b2_li(**_PYRAMID), FpnConfig(pyramid_width=32, width=32)),
    "setr-naive": _model(
        TappedVitConfig(**_VIT, taps=(1,), map_norms=True), ProgressiveConfig.naive(width=32, auxiliary=True)
    ),
    "setr-pup": _model(
        TappedVitConfig(**_VIT, taps=(1,), map_norms=True),
        ProgressiveConfig(width=32, factors=(2, 2, 2), auxiliary=True),
    ),
    "setr-mla": _model(
        TappedVitConfig(**_VIT, class_token=False, taps=(0, 1, 2), map_norms=True), MlaConfig(width=32, level_width=16)
    ),
    "segmenter-linear": _model(TappedVitConfig(**_VIT, epsilon=1e-5), LinearConfig()),
    "segmenter-mask": _model(
        TappedVitConfig(**_VIT, epsilon=1e-5), MaskTransformerConfig(depth=1, head_channels=16, dropout=0.0)
    ),
    "dpt": _model(
        DptVitConfig(width=48, depth=4, heads=3, patch=16, taps=(0, 1, 2, 3)),
        DptSegmentationConfig(width=32, map_widths=(16, 16, 32, 32)),
    ),
    "dpt-hybrid": _model(
        DptVitConfig(width=48, depth=2, heads=3, patch=16, taps=(0, 1), resnet=ResNetConfig(depths=(1, 1, 1))),
        DptSegmentationConfig(width=32, map_widths=(0, 0, 32, 32)),
    ),
    "hrformer-ocr": _model(
        HrnetConfig(widths=(8, 16, 32, 64), heads=(1, 2, 4, 8), modules=(1, 1, 1), blocks=1, bottlenecks=1),
        OcrConfig(width=32, key_width=16, auxiliary_width=32),
    ),
}
