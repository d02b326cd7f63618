"""Segment Anything's formats, and what its card says."""

from pathlib import Path
from typing import Any

from samjax.interop.card import About, Use
from samjax.interop.formats.huggingface import write_huggingface
from samjax.interop.formats.onnx.model import OnnxOptions, write_onnx
from samjax.interop.formats.portable import decoder, encoder
from samjax.interop.formats.samjax_folder import FolderOptions, write_folder
from samjax.interop.formats.segment_anything import write_segment_anything
from samjax.interop.formats.stablehlo import write_stablehlo
from samjax.interop.formats.usage import huggingface_use, onnx_use, segment_anything_use, stablehlo_use
from samjax.interop.formats.writer import Writer
from samjax.models.sam.sam import SamConfig
from samjax.models.sam.sam_sizes import size_name


def sam_about(config: SamConfig) -> About:
    """Return what a card says of a model."""
    encoder, (height, width) = config.image_encoder, config.image_size
    return About(
        title=f"Segment Anything, {size_name(config)}",
        pipeline_tag="mask-generation",
        tags=("segment-anything",),
        architecture="Segment Anything (Kirillov et al., ICCV 2023): image encoder, prompt encoder, mask decoder",
        rows={
            "image encoder": f"{encoder.depth} blocks of width {encoder.width}, {encoder.heads} heads, patch "
            f"{encoder.patch}; windows of {encoder.window}, one block in {encoder.global_every} global",
            "frame": f"{height} x {width} pixels; a photo is scaled to fit, in the top left corner",
            "mask decoder": f"{config.mask_decoder.depth} two-way layers of width {config.embedding}, four masks an "
            f"object of {config.logits_size[0]} x {config.logits_size[1]} pixels",
        },
    )


def _huggingface(params: Any, buffers: Any, config: SamConfig, folder: Path, _: None) -> Use:
    write_huggingface(params, buffers, config, folder)
    return huggingface_use(config)


def _segment_anything(params: Any, buffers: Any, config: SamConfig, folder: Path, _: None) -> Use:
    write_segment_anything(params, buffers, config, folder)
    return segment_anything_use(config)


def _stablehlo(params: Any, buffers: Any, config: SamConfig, folder: Path, _: None) -> Use:
    for half in (encoder, decoder):
        write_stablehlo(half(params, buffers, config), folder)
    return stablehlo_use(config)


def _onnx(params: Any, buffers: Any, config: SamConfig, folder: Path, options: OnnxOptions) -> Use:
    for half in (encoder, decoder):
        part = half(params, buffers, config)
        frame = config.image_size if options.photo_masks and half is decoder else None
        write_onnx(part, folder / f"{part.name}.onnx", single_file=options.single_file, photo_frame=frame)
    return onnx_use(config, options)


SAM_WRITERS = tuple(
    Writer(config=SamConfig, format=format, needs=needs, about=sam_about, write=write, options=options)
    for format, needs, write, options in (
        ("huggingface", (("safetensors", "interop"),), _huggingface, None),
        ("segment-anything", (("torch", "interop"),), _segment_anything, None),
        ("stablehlo", (("safetensors", "interop"), ("flatbuffers", "interop")), _stablehlo, None),
        ("onnx", (("onnx", "onnx"),), _onnx, OnnxOptions),
        ("samjax", (), write_folder, FolderOptions),
    )
)
