"""One model, four engines: samjax, transformers, ONNX Runtime and StableHLO see the same masks."""

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import onnxruntime
import pytest
import safetensors.numpy
import torch
import transformers
from reference import SMALL, WIDE, channels_first, decode, random_case, reference, to_numpy

from samjax.core.batches import valid_pixels
from samjax.core.prompts import Prompts
from samjax.interop.formats.huggingface import write_huggingface
from samjax.interop.formats.onnx.model import write_onnx
from samjax.interop.formats.portable import decoder, encoder
from samjax.interop.formats.stablehlo import write_stablehlo
from samjax.interop.tables.sam import SAM
from samjax.models.sam.sam import Sam, SamConfig
from samjax.nn.pixels import PIXEL_MEAN, PIXEL_STD
from samjax.nn.structure import model_with

ENGINES = ("samjax", "onnx", "stablehlo")
SLOTS = 8  # of every prompt: one shape for all kinds, so that each program is compiled once
TINY_WIDE = SamConfig.tiny(image_size=(96, 160))
VIT_B = SamConfig.vit_b(dtype="float32")


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A model in transformers, here, and out of the files that were written of it."""

    config: SamConfig
    theirs: transformers.SamModel
    ours: Sam
    compiled: Callable[..., Any]
    """What jits: `optimised` for a model that runs for longer than it compiles."""
    sessions: dict[str, onnxruntime.InferenceSession]
    programs: dict[str, Callable[..., Any]]

    def embeddings(self, image, valid_size) -> dict[str, np.ndarray]:
        """Return each engine's [b gh gw c]."""
        inputs = {"image": image, "valid_size": valid_size}
        return {
            "samjax": self.compiled(Sam.encode)(self.ours, *map(jnp.asarray, inputs.values())),
            "onnx": self.sessions["encoder"].run(["embedding"], inputs)[0],
            "stablehlo": self.programs["encoder"](*inputs.values())["embedding"],
        }

    def masks(self, embedding, prompts: Prompts) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Return each engine's logits [b m 4 h w] and IoU [b m 4]."""
        fields = ("coords", "labels", "valid", "mask_logits", "has_mask")
        inputs = {"embedding": embedding, **{name: np.asarray(getattr(prompts, name)) for name in fields}}
        output = self.compiled(Sam.decode)(self.ours, jnp.asarray(embedding), prompts)
        exported = self.programs["decoder"](*inputs.values())
        return {
            "samjax": (output.logits, output.iou),
            "onnx": self.sessions["decoder"].run(["logits", "iou"], inputs),
            "stablehlo": (exported["logits"], exported["iou"]),
        }


optimised = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 3})


@pytest.fixture(scope="module")
def exported(request, tmp_path_factory) -> Exported:
    config = request.param
    theirs = reference(config, attention="sdpa" if config is VIT_B else "eager")
    params, buffers = SAM.from_torch({key: array.numpy() for key, array in theirs.state_dict().items()}, config)
    folder = tmp_path_factory.mktemp("exported")
    compiled = optimised if config is VIT_B else jax.jit
    sessions, programs = {}, {}
    for half in (encoder(params, buffers, config), decoder(params, buffers, config)):
        write_onnx(half, folder / f"{half.name}.onnx")
        write_stablehlo(half, folder)
        sessions[half.name] = onnxruntime.InferenceSession(folder / f"{half.name}.onnx")
        call = jax.export.deserialize((folder / f"{half.name}.stablehlo").read_bytes()).call
        weights = safetensors.numpy.load_file(folder / f"{half.name}.safetensors")
        programs[half.name] = functools.partial(compiled(call), weights)
    ours = model_with(config.make, params=params, buffers=buffers)
    return Exported(config=config, theirs=theirs, ours=ours, compiled=compiled, sessions=sessions, programs=programs)


def photos(config: SamConfig, images: int) -> tuple[np.ndarray, np.ndarray]:
    """Return frames of noise, and sizes of the photos in their corners, all different."""
    height, width = config.image_size
    image = np.random.default_rng(4).integers(0, 256, (images, height, width, 3), dtype=np.uint8)
    sizes = [(height - 8 * index, width - 12 * index) for index in range(images)]
    return image, np.array(sizes, np.int32)


@torch.no_grad()
def check_encoder(exported: Exported, images: int, agrees) -> np.ndarray:
    """Compare embeddings of photos; return transformers'."""
    config = exported.config
    image, valid_size = photos(config, images)
    pixels = (image - np.array(PIXEL_MEAN, np.float32)) / np.array(PIXEL_STD, np.float32)
    pixels *= np.asarray(valid_pixels(jnp.asarray(valid_size), config.image_size))[..., None]
    tensor = exported.theirs.vision_encoder(channels_first(pixels.astype(np.float32))).last_hidden_state
    expected = to_numpy(tensor, channels_last=True)
    for engine, embedding in exported.embeddings(image, valid_size).items():
        agrees(f"{engine}, embedding", embedding, expected, 1e-4)
    return np.ascontiguousarray(expected)


@torch.no_grad()
def check_decoder(exported: Exported, embedding: np.ndarray, kind: str, masks: int, agrees) -> None:
    """Compare all four masks of prompts of a kind, and their estimated IoU."""
    config, images = exported.config, len(embedding)
    case = random_case(config, kind, images, masks)
    both = [decode(exported.theirs, channels_first(embedding), case, config, multimask=many) for many in (False, True)]
    logits, iou = (np.concatenate([to_numpy(part) for part in parts], axis=2) for parts in zip(*both, strict=True))
    prompts = case.prompts(config, images, masks).pad_to(SLOTS)
    for engine, (our_logits, our_iou) in exported.masks(embedding, prompts).items():
        agrees(f"{engine}, mask logits", our_logits, logits, 1e-4)
        agrees(f"{engine}, predicted IoU", our_iou, iou, 1e-4)


@pytest.mark.parametrize(
    "exported",
    [pytest.param(SMALL, id="square"), pytest.param(WIDE, id="wide", marks=pytest.mark.slow)],
    indirect=True,
)
def test_small(exported, agrees):
    embedding = check_encoder(exported, 2, agrees)
    for kind in ("points", "box", "box+points", "mask+box+points"):
        check_decoder(exported, embedding, kind, 3, agrees)


@pytest.mark.parametrize("exported", [SMALL], ids=["square"], indirect=True)
def test_a_single_photo_mask_and_slot(exported, agrees):
    """The least that the symbols stand for; what the file was traced with is not what it is run with."""
    config = exported.config
    embedding = np.random.default_rng(5).normal(size=(1, *config.grid, config.embedding)).astype(np.float32)
    prompts = random_case(config, "point", 1, 1).prompts(config, 1, 1)
    slots = {name: getattr(prompts, name)[:, :, :1] for name in ("coords", "labels", "valid")}
    alone = dataclasses.replace(prompts, **slots)
    given = exported.masks(embedding, alone)
    for engine in ("onnx", "stablehlo"):
        agrees(f"{engine}, mask logits", given[engine][0], given["samjax"][0], 1e-4)
        agrees(f"{engine}, predicted IoU", given[engine][1], given["samjax"][1], 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    "exported", [TINY_WIDE, pytest.param(VIT_B, marks=pytest.mark.long)], ids=["tiny-wide", "vit_b"], indirect=True
)
def test_every_prompt(exported, agrees):
    """Points, boxes, both and mask prompts; 1 and 3 images; 1 to 64 objects."""
    alone = check_encoder(exported, 1, agrees)
    check_decoder(exported, alone, "box", 1, agrees)
    check_decoder(exported, alone, "mask+points", 64, agrees)
    embedding = check_encoder(exported, 3, agrees)
    for kind in ("point", "points", "box", "box+points", "mask+points", "mask+box+points"):
        check_decoder(exported, embedding, kind, 2, agrees)


@torch.no_grad()
def test_transformers_own_classes_load_the_same_model(tmp_path):
    """Bit for bit, each with the configuration that they describe such a model with."""
    theirs = reference(SMALL)
    params, buffers = SAM.from_torch({key: array.numpy() for key, array in theirs.state_dict().items()}, SMALL)
    write_huggingface(params, buffers, SMALL, tmp_path)
    loaded = transformers.SamModel.from_pretrained(tmp_path)
    for part in ("vision_config", "prompt_encoder_config", "mask_decoder_config"):
        there, here = (getattr(model.config, part).to_dict() | {"dtype": None} for model in (theirs, loaded))
        assert here == there
    state = loaded.state_dict()
    assert state.keys() == theirs.state_dict().keys()
    for key, array in theirs.state_dict().items():
        assert torch.equal(state[key], array), key
