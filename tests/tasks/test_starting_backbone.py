"""Weights of other classes, of another frame and of a masked autoencoder, as a semantic run starts from them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath
from flax import nnx
from helpers.tiny_dense import tiny_dense, tiny_depth

from samjax.checkpoint.load import model_record
from samjax.checkpoint.weights import Weights, save_weights
from samjax.core.errors import UserError
from samjax.core.tree import map_with_names, named_leaves, nest
from samjax.data.segments.segment_data import SegmentDataConfig
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.models.heads.dpt import DptSegmentationConfig
from samjax.models.heads.linear import LinearConfig
from samjax.models.heads.mla import MlaConfig
from samjax.models.heads.ocr import OcrConfig
from samjax.models.hrnet.hrnet import HrnetConfig
from samjax.models.mae import MaeConfig
from samjax.models.vit.tapped_vit import TappedVitConfig
from samjax.nn.interpolate import Method
from samjax.nn.resize import resize_position_rows, resize_positions
from samjax.nn.rngs import initial_rngs
from samjax.nn.structure import abstract_model
from samjax.parallel.mesh import make_mesh
from samjax.tasks.semantic import SemanticTraining
from samjax.tasks.starting_backbone import dense_of_dense
from samjax.training.start import find_starting_weights
from samjax.training.state import make_blueprint

ENCODER = TappedVitConfig(patch=8, width=48, depth=3, heads=3, map_norms=True)
VIT = DenseConfig(image_size=(64, 64), classes=3, encoder=ENCODER, head=LinearConfig(), dtype="float32")
MLA = dataclasses.replace(
    VIT,
    encoder=dataclasses.replace(ENCODER, class_token=False, taps=(0, 1)),
    head=MlaConfig(width=4, level_width=4),
)


def run_of(model: DenseConfig, init_from: str = "") -> SemanticTraining:
    data = SegmentDataConfig(source="synthetic:photos=4,size=64", of_masks=True)
    return SemanticTraining(model=model, data=data, init_from=init_from)


def drawn(config) -> Weights:
    draw = np.random.default_rng(0)
    _, *parts = abstract_model(config.make)
    params, buffers = (
        map_with_names(lambda _, leaf: draw.normal(size=leaf.shape).astype(np.float32), nnx.to_pure_dict(one))
        for one in parts
    )
    return Weights(params=params, buffers=buffers, config=model_record(config), path=epath.Path("runs/theirs"))


def fits(weights: Weights, model: DenseConfig) -> bool:
    """Every array is one of the model's."""
    _, params, buffers = abstract_model(model.make)
    shapes = named_leaves({"params": nnx.to_pure_dict(params), "buffers": nnx.to_pure_dict(buffers)})
    return all(shapes[path].shape == shape for path, shape in weights.shapes.items())


def test_other_classes_leave_the_classifier_fresh_and_say_so(tmp_path):
    theirs, ours = drawn(tiny_dense(classes=5)), tiny_dense(classes=2)
    save_weights(tmp_path / "five", params=theirs.params, buffers=theirs.buffers, config=theirs.config)
    run = run_of(ours, str(tmp_path / "five"))
    blueprint = make_blueprint(run, make_mesh(run.mesh, jax.devices()[:1]))
    found = find_starting_weights(run, blueprint)
    assert "the weights are of 5 classes, this run of 2: head/classify start fresh" in found.notes
    begun = named_leaves({"params": found.params, "buffers": found.buffers})
    given = named_leaves({"params": theirs.params, "buffers": theirs.buffers})
    assert given.keys() - begun.keys() == {f"params/head/classify/{kind}" for kind in ("kernel", "bias")}
    for path, leaf in begun.items():
        np.testing.assert_array_equal(leaf, given[path], err_msg=path)


@pytest.mark.parametrize("model", [VIT, MLA], ids=["rows", "map"])
def test_positions_are_resized_for_another_frame(model):
    wide = dataclasses.replace(model, image_size=(64, 96))
    run, theirs = run_of(wide), drawn(model)
    assert run.must_convert(model)
    assert not run.must_convert(wide)
    begin = run.convert_weights(theirs, model)
    assert fits(begin, wide)
    assert "encoder/position: 8 x 8 to 8 x 12 tokens, bilinearly" in begin.notes
    table = theirs.params["encoder"]["position"]
    if table.ndim == 3:
        expected = resize_positions(table, (8, 12), method=Method.BILINEAR)
    else:
        expected = resize_position_rows(table, (8, 8), (8, 12), method=Method.BILINEAR)
    np.testing.assert_array_equal(begin.params["encoder"]["position"], expected)


def test_offsets_of_attention_windows_are_resized_for_another_window():
    """Bicubically, as Swin's authors do; every other array stays."""
    sizes = {"modules": (1, 1, 1), "blocks": 1, "widths": (4, 8, 8, 16), "mlp_ratio": 1}
    seven, five = (
        tiny_dense(classes=2, encoder=HrnetConfig(**sizes, window=one), head=OcrConfig(width=4)) for one in (7, 5)
    )
    place, draw = "encoder/stages/2/modules/0/branches/3/0", np.random.default_rng(0)
    given = {"attention/offsets": draw.normal(size=(13, 13, 8)), "norm1/scale": draw.normal(size=16)}
    params = nest({f"{place}/{name}": leaf.astype(np.float32) for name, leaf in given.items()})
    theirs = Weights(params=params, buffers={}, config=model_record(seven), path=epath.Path("runs/theirs"))
    run = run_of(five)
    assert run.must_convert(seven)
    begin = run.convert_weights(theirs, seven)
    found, given = named_leaves(begin.params), named_leaves(params)
    offsets, scale = f"{place}/attention/offsets", f"{place}/norm1/scale"
    np.testing.assert_array_equal(found[offsets], resize_positions(given[offsets], (9, 9), method=Method.BICUBIC))
    np.testing.assert_array_equal(found[scale], given[scale])
    assert begin.notes == ("attention windows of 7 to 5 tokens a side: 1 tables of their offsets, bicubically",)


def test_a_masked_autoencoders_encoder_gives_its_tokens():
    """After its last norm, which is that of the last map."""
    mae = MaeConfig.tiny()
    run, theirs = run_of(VIT), drawn(mae)
    begin = run.convert_weights(theirs, mae)
    assert fits(begin, VIT)
    paths = named_leaves(begin.params)
    assert not any(path.startswith("head/") for path in paths)
    own = {path.removeprefix("encoder/"): leaf for path, leaf in paths.items()}
    given = named_leaves({**theirs.params["encoder"], "position": theirs.buffers["encoder"]["position"]})
    image = jnp.asarray(np.random.default_rng(1).normal(size=(1, 64, 64, 3)).astype(np.float32))
    ours = jax.jit(lambda encoder: encoder(image)[-1])(encoder_with(VIT, own))
    expected = jax.jit(lambda encoder: encoder.features(image).map)(encoder_with(mae, given))
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)


def encoder_with(config, arrays):
    """Return a model's encoder with all its arrays, by path."""
    graph, state = nnx.split(nnx.eval_shape(lambda: config.make(rngs=initial_rngs(0))).encoder)
    assert named_leaves(nnx.to_pure_dict(state)).keys() == arrays.keys()
    nnx.replace_by_pure_dict(state, nest({path: jnp.asarray(leaf) for path, leaf in arrays.items()}))
    return nnx.merge(graph, state)


def test_a_map_of_positions_is_resized_for_the_frame():
    wide = dataclasses.replace(MLA, image_size=(64, 96))
    begin = run_of(wide).convert_weights(drawn(MaeConfig.tiny()), MaeConfig.tiny())
    assert fits(begin, wide)
    assert any("8 x 8 to 8 x 12 tokens" in note for note in begin.notes)
    assert "class_token" not in begin.params["encoder"]


def test_what_cannot_begin_is_one_sentence():
    mae = MaeConfig.tiny()
    wide = dataclasses.replace(VIT, encoder=dataclasses.replace(ENCODER, width=96))
    with pytest.raises(UserError, match=r"runs/theirs holds an encoder whose width is 48, but this run's is 96"):
        run_of(wide).convert_weights(drawn(mae), mae)
    with pytest.raises(UserError, match=r"whose encoder is a plain ViT, but this run's backbone is PyramidConfig"):
        run_of(tiny_dense(classes=2)).convert_weights(drawn(mae), mae)


@pytest.mark.parametrize(("theirs", "ours"), [("depth", "classes"), ("classes", "depth")])
def test_depth_does_not_begin_classes_nor_classes_depth(theirs, ours):
    segmentation = DptSegmentationConfig(width=8, map_widths=(4, 4, 4, 4))
    models = {"depth": tiny_depth(), "classes": tiny_depth(classes=3, head=segmentation)}
    with pytest.raises(UserError, match=f"runs/theirs gives {theirs}, this run's model {ours}"):
        dense_of_dense(drawn(models[theirs]), models[theirs], models[ours])


def test_a_backbone_of_another_width_is_refused(tmp_path):
    theirs = drawn(tiny_dense(classes=5))
    save_weights(tmp_path / "narrow", params=theirs.params, buffers=theirs.buffers, config=theirs.config)
    ours = tiny_dense(classes=2)
    ours = dataclasses.replace(ours, encoder=dataclasses.replace(ours.encoder, widths=(8, 8, 10, 16)))
    run = run_of(ours, str(tmp_path / "narrow"))
    with pytest.raises(UserError, match=r"narrow is of another model than this experiment's: .* arrays do not fit"):
        find_starting_weights(run, make_blueprint(run, make_mesh(run.mesh, jax.devices()[:1])))
