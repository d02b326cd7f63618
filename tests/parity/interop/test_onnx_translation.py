"""What JAX traces and what ONNX Runtime computes are the same function, at any size that the symbols stand for."""

import jax
import jax.numpy as jnp
import numpy as np
import onnxruntime
import pytest

from samjax.core.errors import UserError
from samjax.interop.formats.onnx import model as onnx_model
from samjax.interop.formats.onnx.model import write_onnx
from samjax.interop.formats.portable import Half
from samjax.predict.promptable.restore import axis_taps

B, M = jax.export.symbolic_shape("b, m")
TABLE = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)


def cumulated(weights, x):
    """A scan over the input's own axis, backwards, with a carry and an output of each step."""

    def step(carry, row):
        return carry + row, carry * row

    last, each = jax.lax.scan(step, jnp.zeros((x.shape[0], 3)), jnp.moveaxis(x, 1, 0), reverse=True)
    return {"out": jnp.concatenate([each, last[None]])}


FUNCTIONS = {
    "batched products over two axes": ((B, M, 3, 2), lambda w, x: {"out": jnp.einsum("bmij,bnij->bmn", x, x)}),
    "products with batch axes in the middle": ((2, B, 3, M), lambda w, x: {"out": jnp.einsum("ibkm,jbkm->kijb", x, x)}),
    "products of vectors": ((3,), lambda w, x: {"out": jnp.einsum("i,i->", x, x)}),
    "products with a weight": ((B, M, 5), lambda w, x: {"out": jnp.einsum("bmi,ij->jbm", x, w["table"])}),
    "rows of a table": ((B, M), lambda w, x: {"out": w["table"][jnp.clip(x.astype(int), 0, 4)]}),
    "a part of an axis": ((B, 4, M), lambda w, x: {"out": x[:, 1] - x[:, -1] + x[:, 1:3].sum(1)}),
    "sums of symbols": ((B, M), lambda w, x: {"out": jnp.pad(x, ((0, 0), (2, 1)), constant_values=7.0)}),
    "products of symbols": ((B, M, 2), lambda w, x: {"out": x.reshape(-1, 2) @ x.reshape(-1, 2).T}),
    "spread over new axes": ((M,), lambda w, x: {"out": jnp.broadcast_to(x[:, None], (x.shape[0], 4)) < 0}),
    "maxima and choices": (
        (B, 4),
        lambda w, x: {"out": jnp.where(x == x.max(1, keepdims=True), x, -jnp.log(x * x))},
    ),
    "a convolution": (
        (B, 6, 5, 3),
        lambda w, x: {
            "out": jax.lax.conv_general_dilated(
                x,
                w["table"][None, :3, None] * jnp.ones((3, 1, 3, 1)),
                (2, 1),
                [(1, 0), (2, 1)],
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
            )
        },
    ),
    "a loop": ((B, 4, 3), cumulated),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_both_compute_the_same(name, tmp_path):
    shape, call = FUNCTIONS[name]
    inputs = {"x": jax.ShapeDtypeStruct(shape, jnp.float32)}
    half = Half(name="half", weights={"table": TABLE}, inputs=inputs, call=call, outputs=("out",))
    write_onnx(half, tmp_path / "half.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "half.onnx")
    for b, m in [(1, 1), (2, 3), (4, 1)]:
        sizes = [{"b": b, "m": m}.get(str(dim), dim) for dim in shape]
        x = np.random.default_rng(0).normal(0, 3, sizes).astype(np.float32)
        expected = call({"table": TABLE}, jnp.asarray(x))["out"]
        (ours,) = session.run(["out"], {"x": x})
        assert ours.shape == expected.shape
        assert ours.dtype == expected.dtype
        np.testing.assert_allclose(ours, expected, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda w, x: {"out": jnp.sort(x)}, "sort"),
        (lambda w, x: {"out": jnp.cumsum(x, 1)}, "cumsum"),
    ],
)
def test_an_operation_without_a_rule_is_named(call, said, tmp_path):
    inputs = {"x": jax.ShapeDtypeStruct((B, 4), jnp.float32)}
    half = Half(name="half", weights={"table": TABLE}, inputs=inputs, call=call, outputs=("out",))
    with pytest.raises(NotImplementedError, match=said):
        write_onnx(half, tmp_path / "half.onnx")


def test_what_grows_from_nothing_is_computed_when_it_runs(tmp_path):
    """The positions of a map's cells, and their product with a weight, are in no file."""
    weights = np.random.default_rng(0).normal(size=(2, 256)).astype(np.float32)

    def call(w, x):
        places = jnp.stack(jnp.meshgrid(jnp.arange(64.0), jnp.arange(64.0)), axis=-1) / 64
        return {"out": x + jnp.sin(places @ w["weights"]) @ jnp.ones((256, 1))}

    inputs = {"x": jax.ShapeDtypeStruct((B, 64, 64, 1), jnp.float32)}
    half = Half(name="half", weights={"weights": weights}, inputs=inputs, call=call, outputs=("out",))
    write_onnx(half, tmp_path / "half.onnx")
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert size < 2**17 < 64 * 64 * 256 * 4
    x = np.ones((2, 64, 64, 1), np.float32)
    (ours,) = onnxruntime.InferenceSession(tmp_path / "half.onnx").run(["out"], {"x": x})
    np.testing.assert_allclose(ours, call({"weights": weights}, x)["out"], atol=1e-4)


def test_weights_lie_in_the_graph_on_request(tmp_path, monkeypatch):
    large = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    inputs = {"x": jax.ShapeDtypeStruct((B, 64), jnp.float32)}
    half = Half(
        name="encoder", weights={"w": large}, inputs=inputs, call=lambda w, x: {"out": x @ w["w"]}, outputs=("out",)
    )
    write_onnx(half, tmp_path / "half.onnx", single_file=True)
    assert [path.name for path in tmp_path.iterdir()] == ["half.onnx"]
    x = np.ones((3, 64), np.float32)
    (ours,) = onnxruntime.InferenceSession((tmp_path / "half.onnx").read_bytes()).run(["out"], {"x": x})
    np.testing.assert_allclose(ours, x @ large, rtol=1e-5)
    monkeypatch.setattr(onnx_model, "_MOST_BYTES", large.nbytes - 1)
    with pytest.raises(UserError, match="single ONNX file holds 2 GB: leave out --single-file"):
        write_onnx(half, tmp_path / "half.onnx", single_file=True)


@pytest.mark.parametrize(("photo", "fitted"), [((90, 140), (41, 64)), ((30, 20), (64, 43)), ((64, 64), (64, 64))])
def test_masks_are_brought_to_the_photos_size_as_by_prediction(photo, fitted, tmp_path):
    """Two bilinear steps, as one step of three neighbours has them."""
    inputs = {"x": jax.ShapeDtypeStruct((B, M, 4, 16, 16), jnp.float32)}
    half = Half(name="decoder", weights={}, inputs=inputs, call=lambda w, x: {"logits": 2 * x}, outputs=("logits",))
    write_onnx(half, tmp_path / "half.onnx", photo_frame=(64, 64))
    session = onnxruntime.InferenceSession(tmp_path / "half.onnx")
    x = np.random.default_rng(0).normal(size=(1, 3, 4, 16, 16)).astype(np.float32)
    sizes = {"valid_size": np.array(fitted, np.int32), "photo_size": np.array(photo, np.int32)}
    logits, masks = session.run(["logits", "masks"], {"x": x, **sizes})
    assert masks.shape == (1, 3, 4, *photo)
    taps = [axis_taps(low=16, frame=64, fitted=fitted[axis], photo=photo[axis]).matrix(16) for axis in range(2)]
    np.testing.assert_allclose(masks, np.einsum("...yx,yh,xw->...hw", logits, *taps), atol=2e-5)
    two = session.run(["masks"], {"x": np.concatenate([x, -x]), **sizes})[0]
    np.testing.assert_allclose(two, np.concatenate([masks, -masks]), atol=1e-6)


def test_weights_lie_beside_the_graph_once(tmp_path):
    large = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    half = Half(
        name="half",
        weights={"large": large},
        inputs={"x": jax.ShapeDtypeStruct((B, 64), jnp.float32)},
        call=lambda w, x: {"out": x @ w["large"] @ w["large"]},
        outputs=("out",),
    )
    write_onnx(half, tmp_path / "half.onnx")
    assert (tmp_path / "half.onnx.data").read_bytes() == large.tobytes()
    assert (tmp_path / "half.onnx").stat().st_size < large.nbytes / 4
