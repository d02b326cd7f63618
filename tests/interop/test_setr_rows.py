"""Keys of SETR and Segmenter: complete in every layout, and the published ones."""

import fnmatch

import numpy as np
import pytest
from helpers.golden_logits import arrays_of, drawn_array, entries, shapes_of
from helpers.segmenter_cases import CASES, segmenter_table
from helpers.segmenter_cases import small as small_segmenter
from helpers.setr_cases import PUBLISHED, setr_table, small

from samjax.core.errors import UserError
from samjax.interop.mapping import arrays_to_torch
from samjax.interop.tables.segmenter_rows import UNUSED as SEGMENTER_UNUSED
from samjax.interop.tables.segmenter_rows import segmenter_rows
from samjax.interop.tables.setr_rows import AUTHORS, MMSEGMENTATION, UNUSED, setr_rows
from samjax.models.dense_prediction.dense_model import DenseConfig

BY_DEFAULT = {(AUTHORS, "mla"), "distilled"}


def exported(case):
    """Drawn arrays by path, the table, and the state dict they give."""
    config, table = (small_segmenter(case)[0], segmenter_table) if isinstance(case, str) else (small(*case), setr_table)
    table = table(config) if isinstance(case, str) else table(config, case[0])
    shapes = shapes_of(config)
    arrays = {path: drawn_array(path, shape) for path, shape in shapes.items()}
    return config, arrays, table, arrays_to_torch(entries(*table), arrays, shapes)


@pytest.mark.parametrize(
    "case",
    [one if one in BY_DEFAULT else pytest.param(one, marks=pytest.mark.slow) for one in (*PUBLISHED, *CASES)],
    ids=str,
)
def test_every_array_goes_out_and_comes_back(case):
    config, arrays, table, state_dict = exported(case)
    back = arrays_of(config, *table, state_dict)
    assert back.keys() == arrays.keys()
    for path, array in arrays.items():
        np.testing.assert_array_equal(back[path], array, err_msg=path)


def layers(state_dict, start: str) -> set[str]:
    """The keys of layers that begin so, without theirs of arrays."""
    return {key.rpartition(".")[0] for key in state_dict if key.startswith(start)}


def test_the_authors_keys_of_mla():
    """The table of positions has a row for the token that is dropped."""
    config, _, _, found = exported((AUTHORS, "mla"))
    assert found["backbone.pos_embed"].shape == (1, 1 + 4 * 4, 16)
    assert not found["backbone.pos_embed"][0, 0].any()
    assert "backbone.cls_token" not in found
    pairs = {
        f"backbone.mla.mla_p{level}{kind}.{part}" for level in (2, 3, 4, 5) for kind in ("", "_1x1") for part in (0, 1)
    }
    assert layers(found, "backbone.mla.") == pairs
    assert layers(found, "backbone.norm_") == {f"backbone.norm_{index}" for index in range(4)}
    heads = {f"decode_head.mlahead.head{level}.{part}" for level in (2, 3, 4, 5) for part in (0, 1, 3, 4)}
    assert layers(found, "decode_head.") == {*heads, "decode_head.cls"}
    assert {key for key in found if key.startswith("aux")} == {f"auxiliary_head.{k}.aux.weight" for k in range(4)}
    assert found["decode_head.cls.weight"].shape == (3, 4 * 8, 3, 3)
    assert config.encoder.patch_bias


@pytest.mark.slow
def test_the_authors_keys_of_pup():
    _, _, _, found = exported((AUTHORS, "pup"))
    main = {*(f"conv_{index}" for index in range(5)), *(f"syncbn_fc_{index}" for index in range(4)), "norm"}
    assert layers(found, "decode_head.") == {f"decode_head.{one}" for one in main}
    auxiliary = ("conv_0", "conv_1", "syncbn_fc_0", "norm")
    assert layers(found, "auxiliary_head.") == {f"auxiliary_head.{k}.{one}" for k in range(4) for one in auxiliary}
    assert "decode_head.conv_0.bias" in found
    assert found["backbone.cls_token"].shape == (1, 1, 16)
    block = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
    assert layers(found, "backbone.blocks.3.") == {f"backbone.blocks.3.{one}" for one in block}


@pytest.mark.slow
def test_mmsegmentation_numbers_summed_maps_from_the_deepest():
    _, arrays, _, found = exported((MMSEGMENTATION, "mla"))
    for one, turned in zip(range(4), (3, 2, 1, 0), strict=True):
        pairs = {
            f"head/smooth/{one}/conv/kernel": f"neck.mla.feat_extract.{turned}.conv.weight",
            f"head/narrow/{one}/conv/kernel": f"decode_head.up_convs.{turned}.0.conv.weight",
            f"head/auxiliary/{one}/bias": f"auxiliary_head.{turned}.conv_seg.bias",
            f"head/lateral/{one}/norm/scale": f"neck.mla.channel_proj.{one}.bn.weight",
        }
        for path, key in pairs.items():
            assert np.array_equal(np.sort(arrays[path], axis=None), np.sort(found[key], axis=None)), (path, key)
    assert "backbone.patch_embed.projection.bias" not in found


def test_segmenters_keys():
    _, arrays, _, found = exported("distilled")
    outside = {"norm", "patch_embed.proj"}
    assert {key for key in layers(found, "encoder.") if ".blocks." not in key} == {
        "encoder", *(f"encoder.{one}" for one in outside),
    }  # fmt: skip
    assert found["encoder.pos_embed"].shape == (1, 2 + 4 * 4, 16)
    np.testing.assert_array_equal(found["encoder.dist_token"][0, 0], arrays["encoder/distillation_token"])
    own = {"decoder.cls_emb", "decoder.proj_patch", "decoder.proj_classes"}
    assert own == {key for key in found if key.startswith("decoder.") and key.count(".") == 1}
    np.testing.assert_array_equal(found["decoder.proj_patch"], arrays["head/project_patches/kernel"])


def test_keys_that_models_do_not_use():
    """As published files carry them."""
    unused = {
        AUTHORS: ("decode_head.conv_seg.weight", "auxiliary_head.3.conv_seg.bias"),
        MMSEGMENTATION: ("decode_head.up_convs.0.0.bn.num_batches_tracked",),
    }
    for layout, keys in unused.items():
        for key in keys:
            assert any(fnmatch.fnmatchcase(key, pattern) for pattern in UNUSED[layout]), key
    assert not any(fnmatch.fnmatchcase("decode_head.conv_seg.weight", pattern) for pattern in UNUSED[MMSEGMENTATION])
    (patterns,) = SEGMENTER_UNUSED.values()
    for key in ("encoder.head.weight", "encoder.head_dist.bias"):
        assert any(fnmatch.fnmatchcase(key, pattern) for pattern in patterns), key


def test_other_models_are_refused():
    with pytest.raises(UserError, match=r"model\.encoder is PyramidConfig; SETR has TappedVitConfig"):
        setr_rows(DenseConfig.segformer_b0(), prefixes={AUTHORS: ""})
    with pytest.raises(UserError, match=r"model\.head is LinearConfig; SETR has ProgressiveConfig or MlaConfig"):
        setr_rows(DenseConfig.segmenter_t16(linear=True), prefixes={AUTHORS: ""})
    with pytest.raises(UserError, match=r"model\.encoder is not Segmenter's"):
        segmenter_rows(DenseConfig.setr_mla(), prefixes={})
    with pytest.raises(UserError, match=r"model\.head is ProgressiveConfig; Segmenter has"):
        segmenter_rows(DenseConfig.setr_pup(auxiliary=False), prefixes={})
