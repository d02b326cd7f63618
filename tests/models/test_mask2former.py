"""Mask2Former: published counts, layers, and what it refuses."""

import math

import pytest

from samjax.core.errors import UserError
from samjax.core.tree import matches
from samjax.models.query_masks.mask2former import Mask2FormerConfig
from samjax.models.query_masks.mask2former_sizes import Mask2FormerSizes
from samjax.models.swin.swin import SwinConfig
from samjax.nn.structure import array_shapes

TINY = Mask2FormerConfig(
    classes=3,
    encoder=SwinConfig(width=4, depths=(2, 2, 2, 2), heads=(1, 2, 2, 4), window=4),
    decoder=Mask2FormerSizes(width=32, heads=2, pixel_layers=1, pixel_hidden=8, layers=3, hidden=8, queries=4),
)
COUNTS = {  # transformers' less the norm of its Swin that it does not use, of two numbers for each last channel
    "swin_t": {133: 47_436_800 - 2 * 768, 80: 47_423_179 - 2 * 768, 150: 47_441_169 - 2 * 768},
    "swin_s": {133: 68_754_704 - 2 * 768},
    "swin_b": {133: 106_919_870 - 2 * 1024, 19: 106_890_572 - 2 * 1024},
    "swin_l": {133: 215_538_682 - 2 * 1536, 80: 215_525_061 - 2 * 1536},
}


@pytest.mark.parametrize("name", ["swin_t", *(pytest.param(name, marks=pytest.mark.slow) for name in list(COUNTS)[1:])])
def test_published_sizes_have_the_published_parameters(name):
    for classes, expected in COUNTS[name].items():
        config = getattr(Mask2FormerConfig, name)(classes=classes)
        assert sum(map(math.prod, array_shapes(config.make).values())) == expected


def test_every_parameter_has_a_layer():
    ids = TINY.layer_ids()
    found = {name: next(one for pattern, one in ids if matches(name, pattern)) for name in array_shapes(TINY.make)}
    assert {one for name, one in found.items() if not name.startswith("encoder/")} == {TINY.encoder.layers}
    assert found["encoder/stages/0/patches/project/kernel"] == 0


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda: Mask2FormerSizes(layers=4), "layers is 4; expected a multiple of 3"),
        (lambda: Mask2FormerSizes(width=40), "width is 40; it must be a positive multiple of 32"),
        (lambda: Mask2FormerConfig(encoder=SwinConfig(maps=(1, 2, 3))), "takes 4 maps, but model.encoder gives 3"),
        (lambda: Mask2FormerConfig(classes=2, class_names=("a",)), "class_names has 1 entries, but .* is 2"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(change, fault):
    with pytest.raises(UserError, match=fault):
        change()
