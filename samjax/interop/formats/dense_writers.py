"""Dense prediction models' formats, and what their card says."""

from pathlib import Path
from typing import Any

from samjax.core.errors import UserError
from samjax.core.optional import optional
from samjax.interop.card import About, Use
from samjax.interop.family import Family
from samjax.interop.formats.onnx.model import OnnxOptions, write_onnx
from samjax.interop.formats.portable_dense import dense
from samjax.interop.formats.samjax_folder import FolderOptions, write_folder
from samjax.interop.formats.segformer_folder import write_segformer_folder
from samjax.interop.formats.stablehlo import write_stablehlo
from samjax.interop.formats.writer import Writer
from samjax.interop.mapping import Naming
from samjax.interop.tables.segformer import SEGFORMER, WHOLE
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.nn.pixels import PixelStatistics

_STATISTICS = {
    PixelStatistics.IMAGENET: "ImageNet's mean and standard deviation",
    PixelStatistics.HALF: "mean and standard deviation 0.5, of pixels from 0 to 1",
    PixelStatistics.PHOTO: "each photo's own mean and standard deviation",
}
_AUTHORS: tuple[tuple[Family, Naming, str, str], ...] = ((SEGFORMER, WHOLE, "Xie et al., NeurIPS 2021", "state_dict"),)
"""Of each family the layout of its authors, the paper, and the key that its files have the state dict under."""


def dense_about(config: DenseConfig) -> About:
    """Return what a card says of a model."""
    family, paper = _family(config)
    name = f"{type(config.encoder).__name__} with {type(config.head).__name__}"
    title = name if family is None else f"{family.name} {family.size(config)}"
    height, width = config.image_size
    is_depth = config.classes == 1
    return About(
        title=title,
        pipeline_tag="depth-estimation" if is_depth else "image-segmentation",
        tags=("dense-prediction", "depth-estimation" if is_depth else "semantic-segmentation"),
        architecture=name if family is None else f"{family.name} ({paper})",
        rows={
            "backbone": f"maps of {', '.join(map(str, config.encoder.channels))} channels, one token for "
            f"{', '.join(map(str, config.encoder.strides))} pixels a side",
            "frame": f"{height} x {width} pixels",
            "pixels": f"normalised with {_STATISTICS[config.pixel_statistics]}",
            **({} if is_depth else {"classes": f"{config.classes}{_class_names(config)}"}),
        },
    )


def _class_names(config: DenseConfig) -> str:
    return f": {', '.join(config.class_names)}" if config.class_names else ", whose names are not known"


def _family(config: DenseConfig) -> tuple[Family | None, str]:
    return next(((family, paper) for family, _, paper, _ in _AUTHORS if family.holds(config)), (None, ""))


def _authors(family: Family, naming: Naming, under: str, models: str) -> Writer:
    """Return the writer of a file as a family's authors have it."""

    def write(params: Any, buffers: Any, config: DenseConfig, folder: Path, _: None) -> Use:
        torch = optional("torch", extra="interop")
        state = family.to_torch(params, buffers, config, naming)
        name = f"{family.name.lower().replace(' ', '_')}.pth"
        content: dict[str, Any] = {under: {key: torch.from_numpy(array) for key, array in state.items()}}
        if under == "state_dict" and config.class_names:  # as mmsegmentation reads them
            content["meta"] = {"CLASSES": config.class_names, "PALETTE": [list(one) for one in config.class_colours]}
        with (folder / name).open("wb") as file:  # torch's own says nothing of a full disk
            torch.save(content, file)
        return Use(
            library="pytorch",
            files=f"`{name}` holds a state dict for {naming.title} under `{under}`.",
            python=f'import torch\n\nstate = torch.load("{name}", weights_only=True)["{under}"]\n',
        )

    return Writer(
        config=DenseConfig,
        format="authors",
        needs=(("torch", "interop"),),
        about=dense_about,
        write=write,
        holds=family.holds,
        models=models,
    )


def _stablehlo(params: Any, buffers: Any, config: DenseConfig, folder: Path, _: None) -> Use:
    write_stablehlo(dense(params, buffers, config), folder)
    return Use(
        library="jax",
        files="StableHLO by `jax.export`, for CPUs, TPUs and NVIDIA GPUs, in float32, for any number of images. "
        "`model.stablehlo` is a function of its weights, in the safetensors beside it, and of photos. JAX, flatbuffers "
        "and safetensors load it, without samjax.",
        python=f"""\
import jax
import numpy as np
from jax import export
from safetensors.numpy import load_file

with open("model.stablehlo", "rb") as file:
    model = jax.jit(export.deserialize(file.read()).call)
weights = jax.device_put(load_file("model.safetensors"))

{_photo(config)}
logits = model(weights, image, valid_size)["logits"]
{_outputs(config)}""",
    )


def _onnx(params: Any, buffers: Any, config: DenseConfig, folder: Path, options: OnnxOptions) -> Use:
    if options.photo_masks:
        raise UserError("--photo-masks is for a Segment Anything model: remove it")
    write_onnx(dense(params, buffers, config), folder / "model.onnx", single_file=options.single_file)
    return Use(
        library="onnx",
        files="ONNX in float32, for any number of images. "
        + (
            "Weights are in the model's own file."
            if options.single_file
            else "`model.onnx.data` holds the weights: keep it beside the model, by this name."
        ),
        python=f"""\
import numpy as np
import onnxruntime

model = onnxruntime.InferenceSession("model.onnx")

{_photo(config)}
(logits,) = model.run(["logits"], {{"image": image, "valid_size": valid_size}})
{_outputs(config)}""",
    )


def _photo(config: DenseConfig) -> str:
    height, width = config.image_size
    return f"""\
# A photo's RGB pixels, scaled to fit {height} x {width} and put in the top left corner of zeros; their size there.
image = np.zeros((1, {height}, {width}, 3), np.uint8)
valid_size = np.array([[{height}, {width}]], np.int32)
"""


def _outputs(config: DenseConfig) -> str:
    height, width = config.image_size
    return f"# logits [images, {height}, {width}, {config.classes}]\n"


DENSE_WRITERS: tuple[Writer, ...] = (
    Writer(
        config=DenseConfig,
        format="huggingface",
        needs=(("safetensors", "interop"),),
        about=dense_about,
        write=write_segformer_folder,
        holds=SEGFORMER.holds,
        models="a SegFormer",
    ),
    *(_authors(family, naming, under, f"a {family.name}") for family, naming, _, under in _AUTHORS),
    Writer(
        config=DenseConfig,
        format="stablehlo",
        needs=(("safetensors", "interop"), ("flatbuffers", "interop")),
        about=dense_about,
        write=_stablehlo,
    ),
    Writer(
        config=DenseConfig,
        format="onnx",
        needs=(("onnx", "onnx"),),
        about=dense_about,
        write=_onnx,
        options=OnnxOptions,
    ),
    Writer(
        config=DenseConfig,
        format="samjax",
        needs=(),
        about=dense_about,
        write=write_folder,
        takes_parts=True,
        options=FolderOptions,
    ),
)
