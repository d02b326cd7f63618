"""ViTs trained on ImageNet, in timm's and AugReg's files, as backbones of SETR, Segmenter and DPT."""

import zipfile
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from safetensors.numpy import save_file
from vit_in_torch import Vit

from samjax.checkpoint.load import load_weights_and_config
from samjax.checkpoint.weights import load_weights
from samjax.cli.main import main
from samjax.core.errors import UserError
from samjax.core.tree import named_leaves, nest
from samjax.data.segments.segment_data import SegmentDataConfig
from samjax.interop.npz import read_npz
from samjax.interop.read_weights import import_weights
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.models.heads.dpt import DptSegmentationConfig
from samjax.models.heads.linear import LinearConfig
from samjax.models.heads.mla import MlaConfig
from samjax.models.vit.dpt_vit import DptVitConfig
from samjax.models.vit.tapped_vit import TappedVitConfig
from samjax.tasks.semantic import SemanticTraining

SIZES = {"width": 64, "heads": 1, "depth": 4, "patch": 16}
GRID = (4, 6)
"""Of the runs' frame, 64 x 96; the files' is 3 x 3."""
SEGMENTER = TappedVitConfig(**SIZES, map_norms=True)
BACKBONES = {
    "segmenter": (SEGMENTER, LinearConfig()),
    "distilled": (replace(SEGMENTER, distillation_token=True), LinearConfig()),
    "setr": (replace(SEGMENTER, class_token=False, taps=(0, 1, 2)), MlaConfig(width=4, level_width=4)),
    "dpt": (
        DptVitConfig(**SIZES, taps=(0, 1, 2, 3), table_size=(64, 96)),
        DptSegmentationConfig(width=4, map_widths=(4, 4, 4, 4)),
    ),
}


def augreg(vit: Vit) -> dict[str, np.ndarray]:
    """Return a ViT's weights as the authors of AugReg have them."""
    weights = {key: weight.detach().numpy() for key, weight in vit.named_parameters()}
    heads, channels = SIZES["heads"], SIZES["width"] // SIZES["heads"]
    found = {
        "cls": weights["cls_token"],
        "embedding/kernel": weights["patch_embed.proj.weight"].transpose(2, 3, 1, 0),
        "embedding/bias": weights["patch_embed.proj.bias"],
        "Transformer/posembed_input/pos_embedding": weights["pos_embed"],
        "Transformer/encoder_norm/scale": weights["norm.weight"],
        "Transformer/encoder_norm/bias": weights["norm.bias"],
        "head/kernel": weights["head.weight"].T,
        "head/bias": weights["head.bias"],
        "pre_logits/kernel": np.zeros((2, 2), np.float32),
    }
    for block in range(SIZES["depth"]):
        theirs, start = f"Transformer/encoderblock_{block}", f"blocks.{block}"
        for norm, name in (("norm1", "LayerNorm_0"), ("norm2", "LayerNorm_2")):
            found[f"{theirs}/{name}/scale"] = weights[f"{start}.{norm}.weight"]
            found[f"{theirs}/{name}/bias"] = weights[f"{start}.{norm}.bias"]
        for layer, name in (("fc1", "Dense_0"), ("fc2", "Dense_1")):
            found[f"{theirs}/MlpBlock_3/{name}/kernel"] = weights[f"{start}.mlp.{layer}.weight"].T
            found[f"{theirs}/MlpBlock_3/{name}/bias"] = weights[f"{start}.mlp.{layer}.bias"]
        attention = f"{theirs}/MultiHeadDotProductAttention_1"
        kernels = weights[f"{start}.attn.qkv.weight"].reshape(3, heads, channels, -1)
        biases = weights[f"{start}.attn.qkv.bias"].reshape(3, heads, channels)
        for name, kernel, bias in zip(("query", "key", "value"), kernels, biases, strict=True):
            found[f"{attention}/{name}/kernel"], found[f"{attention}/{name}/bias"] = kernel.transpose(2, 0, 1), bias
        found[f"{attention}/out/kernel"] = weights[f"{start}.attn.proj.weight"].T.reshape(heads, channels, -1)
        found[f"{attention}/out/bias"] = weights[f"{start}.attn.proj.bias"]
    return found


def test_a_file_of_any_kind_gives_the_same_backbone(tmp_path):
    """timm's as .pth and as .safetensors, and AugReg's: bit for bit, with the classifier unused."""
    vit = Vit(**SIZES, side=3)
    state = vit.state_dict()
    torch.save(state, tmp_path / "vit.pth")
    save_file({key: array.numpy() for key, array in state.items()}, tmp_path / "vit.safetensors")
    np.savez(tmp_path / "vit.npz", **augreg(vit))
    found = {}
    for kind, unused in (
        ("pth", ["head.bias", "head.weight"]),
        ("safetensors", ["head.bias", "head.weight"]),
        ("npz", ["head/bias", "head/kernel", "pre_logits/kernel"]),
    ):
        read = import_weights(tmp_path / f"vit.{kind}")
        assert (read.reading.config.image_size, read.reading.config.encoder) == ((48, 48), SEGMENTER)
        assert sorted(read.unused_keys) == unused
        found[kind] = named_leaves(read.reading.params)
    first = found.pop("pth")
    for other in found.values():
        assert other.keys() == first.keys()
        for path, leaf in first.items():
            np.testing.assert_array_equal(other[path], leaf, err_msg=path)


def encoder_with(config: DenseConfig, arrays):
    """Return a model's backbone with these arrays, what they lack as a fresh model has it; and what they lack."""
    graph, state = nnx.split(config.make(rngs=nnx.Rngs(0)).encoder)
    own = named_leaves(nnx.to_pure_dict(state))
    assert arrays.keys() <= own.keys()
    nnx.replace_by_pure_dict(state, nest({**own, **{path: jnp.asarray(leaf) for path, leaf in arrays.items()}}))
    return nnx.merge(graph, state), own.keys() - arrays.keys()


@pytest.mark.slow
@pytest.mark.parametrize("distilled", [False, True], ids=["plain", "deit"])
@pytest.mark.parametrize("name", BACKBONES)
@torch.no_grad()
def test_maps_of_a_run_that_starts_from_it(name, distilled, tmp_path, agrees):
    """Every map that a run of another frame takes from it, after `samjax import`."""
    vit = Vit(**SIZES, side=3, distilled=distilled)
    torch.save({"model": vit.state_dict()}, tmp_path / "vit.pth")
    assert main(["import", str(tmp_path / "vit.pth"), "--out", str(tmp_path / "vit")]) == 0
    weights, theirs = load_weights(tmp_path / "vit"), load_weights_and_config(tmp_path / "vit", DenseConfig).config
    encoder, head = BACKBONES[name]
    ours = DenseConfig(image_size=(64, 96), classes=3, encoder=encoder, head=head, dtype="float32")
    run = SemanticTraining(model=ours, data=SegmentDataConfig(source="synthetic:photos=4,size=64", of_masks=True))
    assert run.must_convert(theirs)
    begin = run.convert_weights(weights, theirs)
    assert any("3 x 3 to 4 x 6 tokens, bilinearly" in note for note in begin.notes)
    assert set(begin.params) == {"encoder"}
    backbone, fresh = encoder_with(ours, named_leaves(begin.params["encoder"]))
    if name == "distilled" and not distilled:
        assert fresh == {"distillation_token"}
        return
    assert all(path.startswith(("readouts/", "norms/0", "norms/1", "norms/2")) for path in fresh)
    tokens = 0 if name == "setr" else 2 if name == "distilled" else 1
    image = np.random.default_rng(1).normal(size=(1, 64, 96, 3)).astype(np.float32)
    expected = vit(torch.from_numpy(image.transpose(0, 3, 1, 2).copy()), GRID, tokens=tokens)
    expected = [one.numpy().transpose(0, 2, 3, 1) for one in expected]
    if isinstance(encoder, DptVitConfig):
        found = jax.jit(lambda backbone, image: backbone.vit.features(image).taps)(backbone, image)
        pairs = list(zip(found, expected[:4], strict=True))
    else:
        found = jax.jit(lambda backbone, image: backbone(image))(backbone, image)
        normed = [torch.nn.functional.layer_norm(torch.from_numpy(one), (64,), eps=1e-6).numpy() for one in expected]
        pairs = list(zip(found, [*normed[: len(found) - 1], expected[-1]], strict=True))
    for number, (map_, reference) in enumerate(pairs):
        agrees(f"ImageNet ViT in {name}, map {number}", map_, reference)


def test_an_npz_is_read_as_numbers_alone(tmp_path):
    """No pickle, no damage, no array larger than the file says; and JAX's bfloat16, which has NumPy's void type."""
    path = tmp_path / "x.npz"
    half = np.array([0x3F80, 0xC000], np.uint16)
    np.savez(path, a=np.asfortranarray(np.arange(6.0).reshape(2, 3)), b=half.view("V2"))
    found = read_npz(path)
    np.testing.assert_array_equal(found["a"], np.arange(6.0).reshape(2, 3))
    np.testing.assert_array_equal(found["b"], np.array([1.0, -2.0], np.float32))
    np.savez(path, a=np.array([{}], object))
    with pytest.raises(UserError, match=r"x.npz: a holds objects, which may run code"):
        read_npz(path)
    np.savez(path, a=np.zeros(100))
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    with pytest.raises(UserError, match=r"x.npz is cut off, damaged or no .npz"):
        read_npz(path)
    with zipfile.ZipFile(path, "w") as archive, archive.open("a.npy", "w") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (1 << 40,)}
        np.lib.format.write_array_header_1_0(file, header)
    with pytest.raises(UserError, match=r"x.npz: a has 128 bytes, not those of 1,099,511,627,776 numbers of float32"):
        read_npz(path)
