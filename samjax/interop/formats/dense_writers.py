"""Dense prediction models' formats, and what their card says."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samjax.core.errors import UserError
from samjax.core.optional import optional
from samjax.interop.card import About, Use
from samjax.interop.family import Family
from samjax.interop.formats.dpt_folder import write_dpt_folder
from samjax.interop.formats.onnx.model import OnnxOptions, write_onnx
from samjax.interop.formats.portable_dense import dense
from samjax.interop.formats.samjax_folder import FolderOptions, write_folder
from samjax.interop.formats.segformer_folder import write_segformer_folder
from samjax.interop.formats.stablehlo import write_stablehlo
from samjax.interop.formats.writer import Writer
from samjax.interop.mapping import Naming
from samjax.interop.tables import hrformer, pvt, segformer
from samjax.interop.tables.dpt_family import DPT, DPT_AUTHORS
from samjax.interop.tables.hrformer import HRFORMER
from samjax.interop.tables.pvt import PVT
from samjax.interop.tables.segformer import SEGFORMER
from samjax.interop.tables.segmenter import SEGMENTER, SEGMENTER_AUTHORS
from samjax.interop.tables.setr import SETR, layout_of
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.nn.pixels import PixelStatistics

_STATISTICS = {
    PixelStatistics.IMAGENET: "ImageNet's mean and standard deviation",
    PixelStatistics.HALF: "mean and standard deviation 0.5, of pixels from 0 to 1",
    PixelStatistics.PHOTO: "each photo's own mean and standard deviation",
}


@dataclass(frozen=True, kw_only=True)
class _Published:
    """A family, and files as its authors have them."""

    family: Family
    layout: Callable[[DenseConfig], Naming]
    """The layout of a model."""
    paper: str
    under: str = "state_dict"
    """The key that files have the state dict under."""


_PUBLISHED = (
    _Published(family=SEGFORMER, layout=lambda config: segformer.WHOLE, paper="Xie et al., NeurIPS 2021"),
    _Published(family=SETR, layout=layout_of, paper="Zheng et al., CVPR 2021"),
    _Published(
        family=SEGMENTER, layout=lambda config: SEGMENTER_AUTHORS, paper="Strudel et al., ICCV 2021", under="model"
    ),
    _Published(family=PVT, layout=lambda config: pvt.WHOLE, paper="Wang et al., ICCV 2021; CVM 2022"),
    _Published(family=DPT, layout=lambda config: DPT_AUTHORS, paper="Ranftl et al., ICCV 2021"),
    _Published(family=HRFORMER, layout=lambda config: hrformer.WHOLE, paper="Yuan et al., NeurIPS 2021"),
)


def dense_about(config: DenseConfig) -> About:
    """Return what a card says of a model."""
    published = next((one for one in _PUBLISHED if one.family.holds(config)), None)
    name = f"{type(config.encoder).__name__} with {type(config.head).__name__}"
    title = name if published is None else f"{published.family.name} {published.family.size(config)}"
    height, width = config.image_size
    is_depth = config.head.GIVES_DEPTH
    return About(
        title=title,
        pipeline_tag="depth-estimation" if is_depth else "image-segmentation",
        tags=("dense-prediction", "depth-estimation" if is_depth else "semantic-segmentation"),
        architecture=name if published is None else f"{published.family.name} ({published.paper})",
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


def _authors(published: _Published) -> Writer:
    """Return the writer of a file as a family's authors have it."""
    family, under = published.family, published.under

    def write(params: Any, buffers: Any, config: DenseConfig, folder: Path, _: None) -> Use:
        torch, naming = optional("torch", extra="interop"), published.layout(config)
        state = family.to_torch(params, buffers, config, naming)
        name = f"{family.name.lower()}.pth"
        content: dict[str, Any] = {under: {key: torch.from_numpy(array) for key, array in state.items()}}
        if under == "state_dict" and config.class_names:  # as mmsegmentation reads them
            content["meta"] = {"CLASSES": config.class_names, "PALETTE": [list(one) for one in config.class_colours]}
        with (folder / name).open("wb") as file:  # torch's own says nothing of a full disk
            torch.save(content, file)
        return Use(
            library="pytorch",
            files=f"`{name}` holds a state dict, in the key layout of {naming.title}, under `{under}`.",
            python=f'import torch\n\nstate = torch.load("{name}", weights_only=True)["{under}"]\n',
        )

    return Writer(
        config=DenseConfig,
        format="authors",
        needs=(("torch", "interop"),),
        about=dense_about,
        write=write,
        holds=family.holds,
        models=f"a {family.name}",
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
    Writer(
        config=DenseConfig,
        format="huggingface",
        needs=(("safetensors", "interop"),),
        about=dense_about,
        write=write_dpt_folder,
        holds=DPT.holds,
        models="a DPT",
    ),
    *(_authors(one) for one in _PUBLISHED),
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
