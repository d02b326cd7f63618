"""Masked autoencoders for others: a file as the release has them, and a folder for transformers."""

from pathlib import Path
from typing import Any

from samjax.core.errors import UserError
from samjax.core.optional import optional
from samjax.interop.card import About, Use
from samjax.interop.formats.samjax_folder import FolderOptions, write_folder
from samjax.interop.formats.transformers_folder import write_transformers_folder
from samjax.interop.formats.writer import Writer
from samjax.interop.tables.mae import MAE
from samjax.interop.tables.mae_rows import HUB, HUB_ENCODER, RELEASE, RELEASE_ENCODER
from samjax.models.mae import MaeConfig
from samjax.models.mae_sizes import PUBLISHED, size_name

_BICUBIC = 3  # Pillow's number
_NAMES = {"ViT-B": "base", "ViT-L": "large", "ViT-H": "huge"}


def mae_about(config: MaeConfig) -> About:
    """Return what a card says of a model."""
    encoder, decoder = config.encoder, config.decoder
    return About(
        title=f"Masked autoencoder, {size_name(config)}",
        pipeline_tag="image-feature-extraction",
        tags=("masked-autoencoder",),
        architecture="masked autoencoder (He et al., CVPR 2022)",
        rows={
            "encoder": f"{encoder.depth} blocks of width {encoder.width}, {encoder.heads} heads, patch {encoder.patch}",
            "decoder": f"{decoder.depth} blocks of width {decoder.width}, {decoder.heads} heads",
            "frame": f"{config.image_size[0]} x {config.image_size[1]} pixels, {config.visible} of {config.tokens} "
            "patches seen",
            "targets": "pixels, normalised per patch" if config.normalise_targets else "pixels",
        },
    )


def file_name(config: MaeConfig, *, is_whole: bool) -> str:
    """Return the published file's name, as mae_pretrain_vit_base_full.pth, and mae.pth for a model that has none."""
    size = next((name for name, one in PUBLISHED.items() if one.encoder == config.encoder), None)
    is_published = size is not None and config.image_size == PUBLISHED[size].image_size
    if size is None or not is_published or config.decoder != PUBLISHED[size].decoder:
        return "mae.pth"
    return f"mae_pretrain_vit_{_NAMES[size]}{'_full' if is_whole else ''}.pth"


def model_config(config: MaeConfig, *, is_whole: bool) -> dict[str, Any]:
    """Return config.json for transformers."""
    encoder, decoder = config.encoder, config.decoder
    return {
        "architectures": ["ViTMAEForPreTraining" if is_whole else "ViTMAEModel"],
        "model_type": "vit_mae",
        "dtype": "float32",
        "hidden_size": encoder.width,
        "num_hidden_layers": encoder.depth,
        "num_attention_heads": encoder.heads,
        "intermediate_size": encoder.mlp_ratio * encoder.width,
        "hidden_act": "gelu",
        "layer_norm_eps": encoder.epsilon,
        "image_size": config.image_size[0],
        "patch_size": encoder.patch,
        "num_channels": 3,
        "qkv_bias": True,
        "decoder_hidden_size": decoder.width,
        "decoder_num_hidden_layers": decoder.depth,
        "decoder_num_attention_heads": decoder.heads,
        "decoder_intermediate_size": config.decoder_blocks.mlp_ratio * decoder.width,
        "mask_ratio": _mask_ratio(config),
        "norm_pix_loss": config.normalise_targets,
    }


def _mask_ratio(config: MaeConfig) -> float:
    """Return the share of hidden patches, of which transformers gets our count: it rounds down what it computes."""
    ratio = 1 - config.visible / config.tokens
    is_exact = int(config.tokens * (1 - ratio)) == config.visible
    return ratio if is_exact else 1 - (config.visible + 0.5) / config.tokens


def _release(params: Any, buffers: Any, config: MaeConfig, folder: Path, _: None) -> Use:
    torch = optional("torch", extra="interop")
    is_whole = "decoder" in params
    state = MAE.to_torch(params, buffers, config, RELEASE if is_whole else RELEASE_ENCODER)
    name = file_name(config, is_whole=is_whole)
    with (folder / name).open("wb") as file:  # torch's own says nothing of a full disk
        torch.save({"model": {key: torch.from_numpy(array) for key, array in state.items()}}, file)
    return Use(
        library="mae",
        files=f"`{name}` holds a state dict for the released code under `model`.",
        python=f'import torch\n\nstate = torch.load("{name}", weights_only=True)["model"]\n',
    )


def _huggingface(params: Any, buffers: Any, config: MaeConfig, folder: Path, _: None) -> Use:
    height, width = config.image_size
    if height != width:
        raise UserError(f"the model's frame is {height} x {width}, and transformers' ViTMAE takes square ones alone")
    is_whole = "decoder" in params
    state = MAE.to_torch(params, buffers, config, HUB if is_whole else HUB_ENCODER)
    processor = {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "resample": _BICUBIC,
        "size": {"height": height, "width": width},
    }
    write_transformers_folder(folder, state, config=model_config(config, is_whole=is_whole), processor=processor)
    loader = "ViTMAEForPreTraining" if is_whole else "ViTMAEModel"
    return Use(
        library="transformers",
        files="For `transformers`, in this folder.",
        python=f"""\
import torch
from transformers import {loader}

model = {loader}.from_pretrained(".")
pixels = torch.zeros(1, 3, {height}, {width})  # normalised as preprocessor_config.json says
with torch.no_grad():
    outputs = model(pixel_values=pixels)
""",
    )


MAE_WRITERS = (
    Writer(
        config=MaeConfig,
        format="huggingface",
        needs=(("safetensors", "interop"),),
        about=mae_about,
        write=_huggingface,
        takes_parts=True,
    ),
    Writer(
        config=MaeConfig, format="mae", needs=(("torch", "interop"),), about=mae_about, write=_release, takes_parts=True
    ),
    Writer(
        config=MaeConfig,
        format="samjax",
        needs=(),
        about=mae_about,
        write=write_folder,
        takes_parts=True,
        options=FolderOptions,
    ),
)
