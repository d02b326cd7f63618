"""A file for the released Segment Anything code: what its builder loads, and how a model of another size is built."""

from pathlib import Path
from typing import Any

from samjax.core.optional import optional
from samjax.interop.formats.huggingface import check_square
from samjax.interop.tables.sam import SAM
from samjax.interop.tables.sam_rows import RELEASE
from samjax.models.sam.image_encoder import ImageEncoderConfig
from samjax.models.sam.sam import SamConfig
from samjax.models.sam.sam_sizes import PUBLISHED


def write_segment_anything(params: Any, buffers: Any, config: SamConfig, folder: Path) -> None:
    """Write the state dict as `file_name` says, as PyTorch saves it.

    Raises:
      UserError: the model's frame is not square, or PyTorch is not installed.
    """
    check_square(config, "the released code")
    torch = optional("torch", extra="interop")
    state = SAM.to_torch(params, buffers, config, RELEASE)
    with (folder / file_name(config)).open("wb") as file:  # torch's own says nothing of a full disk
        torch.save({key: torch.from_numpy(array) for key, array in state.items()}, file)


def file_name(config: SamConfig) -> str:
    """Return sam_vit_b.pth, sam_vit_l.pth or sam_vit_h.pth, and sam.pth where the registry has no such model."""
    return f"sam_{size}.pth" if (size := published_size(config)) else "sam.pth"


def published_size(config: SamConfig) -> str | None:
    """Return the name that the release's registry has for this architecture."""
    own = _architecture(config)
    return next((name.lower().replace("-", "_") for name, one in PUBLISHED.items() if _architecture(one) == own), None)


def program(config: SamConfig) -> str:
    """Return the Python that loads the file, strictly, into the release's modules."""
    if size := published_size(config):
        return f"""\
from segment_anything import SamPredictor, sam_model_registry

sam = sam_model_registry["{size}"](checkpoint="{file_name(config)}")
predictor = SamPredictor(sam)
"""
    encoder, decoder, side = config.image_encoder, config.mask_decoder, config.image_size[0]
    blocks = tuple(range(encoder.global_every - 1, encoder.depth, encoder.global_every))
    return f"""\
from functools import partial

import torch
from segment_anything import SamPredictor
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

sam = Sam(
    image_encoder=ImageEncoderViT(
        img_size={side}, patch_size={encoder.patch}, embed_dim={encoder.width}, depth={encoder.depth}, \
num_heads={encoder.heads},
        mlp_ratio={encoder.mlp_ratio}, out_chans={config.embedding}, qkv_bias=True, use_rel_pos=True, \
window_size={encoder.window},
        global_attn_indexes={blocks}, norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
    ),
    prompt_encoder=PromptEncoder(
        embed_dim={config.embedding}, image_embedding_size={config.grid}, input_image_size={config.image_size},
        mask_in_chans={config.mask_prompt_channels},
    ),
    mask_decoder=MaskDecoder(
        transformer_dim={config.embedding}, num_multimask_outputs=3, iou_head_depth=3, \
iou_head_hidden_dim={config.embedding},
        transformer=TwoWayTransformer(
            depth={decoder.depth}, embedding_dim={config.embedding}, mlp_dim={decoder.hidden}, num_heads={decoder.heads}
        ),
    ),
).eval()
sam.load_state_dict(torch.load("{file_name(config)}"))
predictor = SamPredictor(sam)
"""


def _architecture(config: SamConfig) -> tuple[Any, ...]:
    """Return what a state dict and its use depend on."""
    encoder: ImageEncoderConfig = config.image_encoder
    decoder = config.mask_decoder
    return (
        config.image_size,
        config.embedding,
        config.mask_prompt_channels,
        *(encoder.patch, encoder.width, encoder.depth, encoder.heads, encoder.mlp_ratio, encoder.window),
        encoder.global_every,
        *(decoder.depth, decoder.heads, decoder.hidden),
    )
