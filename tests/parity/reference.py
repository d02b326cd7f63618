"""Hugging Face's `SamModel` as the reference: any of our configs, trained-like weights, prompts in both forms."""

import dataclasses
import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import torch
import transformers
from flax import nnx
from torch import nn

from samjax.core.prompts import PointLabel, Prompts
from samjax.interop.tables.sam import SAM
from samjax.models.sam.image_encoder import ImageEncoderConfig
from samjax.models.sam.mask_decoder import MaskDecoderConfig
from samjax.models.sam.sam import Sam, SamConfig
from samjax.nn.rngs import initial_rngs

# Every trap of shape that a small model can hold: two groups, two windowed blocks in each, a window that does not
# divide the grid, heads and channels that differ from each other and from the depth.
SMALL = SamConfig(
    image_size=(96, 96),
    embedding=64,
    image_encoder=ImageEncoderConfig(patch=8, width=96, depth=6, heads=3, window=5, global_every=3),
    mask_decoder=MaskDecoderConfig(hidden=128, heads=4, dropout=0.0),
    dtype="float32",
)
WIDE = dataclasses.replace(SMALL, image_size=(80, 136))


def reference(config: SamConfig, seed: int = 0, *, attention: str = "eager") -> transformers.SamModel:
    """Return a float32 SamModel of `config` with this attention, every parameter drawn as if it were trained.

    Its own initialisation leaves position tables, biases and norms at 0 and 1, where a wrong table changes nothing.
    Its configuration is square, so a frame that is not gets its tables set afterwards.
    """
    encoder, decoder = config.image_encoder, config.mask_decoder
    side = max(config.image_size)
    vision = transformers.SamVisionConfig(
        hidden_size=encoder.width,
        output_channels=config.embedding,
        num_hidden_layers=encoder.depth,
        num_attention_heads=encoder.heads,
        image_size=side,
        patch_size=encoder.patch,
        mlp_ratio=float(encoder.mlp_ratio),
        window_size=encoder.window,
        global_attn_indexes=list(range(encoder.global_every - 1, encoder.depth, encoder.global_every)),
        num_pos_feats=config.embedding // 2,
    )
    prompts = transformers.SamPromptEncoderConfig(
        hidden_size=config.embedding,
        image_size=side,
        patch_size=encoder.patch,
        mask_input_channels=config.mask_prompt_channels,
    )
    masks = transformers.SamMaskDecoderConfig(
        hidden_size=config.embedding,
        mlp_dim=decoder.hidden,
        num_hidden_layers=decoder.depth,
        num_attention_heads=decoder.heads,
        iou_head_hidden_dim=config.embedding,
        layer_norm_eps=1e-5,  # the release's; this class has 1e-6
    )
    whole = transformers.SamConfig(
        vision_config=vision.to_dict(), prompt_encoder_config=prompts.to_dict(), mask_decoder_config=masks.to_dict()
    )
    whole._attn_implementation = attention
    model = transformers.SamModel(whole).eval()
    assert vision.hidden_act == "gelu"  # the erf form
    if config.image_size != (side, side):
        _reshape(model, config)
    _fill(model, seed)
    return model


def _reshape(model: transformers.SamModel, config: SamConfig) -> None:
    height, width = config.grid
    encoder = model.vision_encoder
    encoder.patch_embed.image_size = config.image_size
    encoder.pos_embed = nn.Parameter(torch.zeros(1, height, width, config.image_encoder.width))
    for block in encoder.layers:
        if block.window_size == 0:
            channels = config.image_encoder.width // config.image_encoder.heads
            block.attn.rel_pos_h = nn.Parameter(torch.zeros(2 * height - 1, channels))
            block.attn.rel_pos_w = nn.Parameter(torch.zeros(2 * width - 1, channels))
    model.prompt_encoder.image_embedding_size = (height, width)


@torch.no_grad()
def _fill(model: transformers.SamModel, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        noise = torch.randn(weight.shape, generator=generator)
        if "norm" in name and name.endswith("weight"):
            weight.copy_(1 + 0.2 * noise)
        elif name.endswith("bias"):
            weight.copy_(0.2 * noise)
        elif "rel_pos" in name:
            weight.copy_(0.3 * noise)
        elif ("embed" in name and "conv" not in name and "projection" not in name) or "token.weight" in name:
            weight.copy_(noise)
        else:
            weight.copy_(noise * _fan_in(name, weight) ** -0.5)


def _fan_in(name: str, weight: torch.Tensor) -> int:
    return weight.shape[0] if "upscale_conv" in name else weight[0].numel()


def ours(model: transformers.SamModel, config: SamConfig) -> Sam:
    """Return our model with the reference's weights."""
    state = {name: array.numpy() for name, array in model.state_dict().items()}
    return nnx.merge(graph(config), *jax.tree.map(jnp.asarray, SAM.from_torch(state, config)))


@functools.cache
def graph(config: SamConfig) -> nnx.GraphDef[Sam]:
    """Return the structure of our model."""
    return nnx.split(nnx.eval_shape(lambda: Sam(config, rngs=initial_rngs(0))), nnx.Param, ...)[0]


@dataclass(frozen=True, kw_only=True)
class Case:
    """Prompts of a kind for b images x m masks: points [b m p 2], labels [b m p], boxes [b m 4], logits [b m h w]."""

    points: np.ndarray | None = None
    labels: np.ndarray | None = None
    boxes: np.ndarray | None = None
    logits: np.ndarray | torch.Tensor | None = None

    def of(self, image: int, mask: int) -> "Case":
        """Return the prompts of one object, b = m = 1."""
        parts = (self.points, self.labels, self.boxes, self.logits)
        return Case(
            **{
                name: None if part is None else part[image : image + 1, mask : mask + 1]
                for name, part in zip(("points", "labels", "boxes", "logits"), parts, strict=True)
            }
        )

    def prompts(self, config: SamConfig, images: int, masks: int) -> Prompts:
        """Return them for our model: points, then the padding token unless there is a box, then the box."""
        coords, labels = np.zeros((images, masks, 0, 2), np.float32), np.zeros((images, masks, 0), np.int32)
        if self.points is not None:
            coords, labels = self.points, self.labels
            if self.boxes is None:
                coords = np.concatenate([coords, np.full((images, masks, 1, 2), 7.0, np.float32)], axis=2)
                labels = np.pad(labels, ((0, 0), (0, 0), (0, 1)), constant_values=int(PointLabel.NOT_A_POINT))
        if self.boxes is not None:
            corners = np.array([PointLabel.BOX_MIN, PointLabel.BOX_MAX], np.int32)
            coords = np.concatenate([coords, self.boxes.reshape(images, masks, 2, 2)], axis=2)
            labels = np.concatenate([labels, np.broadcast_to(corners, (images, masks, 2))], axis=2)
        logits = np.ones((images, masks, *config.logits_size), np.float32) if self.logits is None else self.logits
        return Prompts(
            coords=jnp.asarray(coords, jnp.float32),
            labels=jnp.asarray(labels, jnp.int32),
            valid=jnp.ones(labels.shape, bool),
            mask_logits=jnp.asarray(logits),
            has_mask=jnp.full((images, masks), self.logits is not None),
        )


def random_case(config: SamConfig, kind: str, images: int, masks: int, seed: int = 0) -> Case:
    """Return prompts of a kind: "none", "point", "points", "box", "box+points", "mask" or "mask+points"."""
    generator = np.random.default_rng(seed)
    frame = np.array(config.image_size[::-1], np.float32)
    parts = kind.split("+")
    count = {"point": 1, "points": 5}.get(parts[-1])
    points = labels = boxes = logits = None
    if count:
        points = generator.uniform(0, 1, (images, masks, count, 2)).astype(np.float32) * frame
        labels = generator.integers(0, 2, (images, masks, count), dtype=np.int32)
    if "box" in parts:
        corners = generator.uniform(0, 1, (images, masks, 2, 2)).astype(np.float32) * frame
        boxes = np.sort(corners, axis=2).reshape(images, masks, 4)
    if "mask" in parts:
        logits = generator.normal(0, 4, (images, masks, *config.logits_size)).astype(np.float32)
    return Case(points=points, labels=labels, boxes=boxes, logits=logits)


def _tensor(array: np.ndarray | None) -> torch.Tensor | None:
    return None if array is None else torch.as_tensor(array)


def embed(model: transformers.SamModel, case: Case, config: SamConfig) -> tuple[torch.Tensor | None, torch.Tensor]:
    """Return the reference's sparse [b m p c] and dense [(b m) c h w or broadcastable] embeddings of prompts.

    Its prompt encoder divides both coordinates by one side: another frame's are brought to that square first.
    """
    side = torch.tensor(float(model.prompt_encoder.input_image_size))
    scale = side / torch.tensor(config.image_size[::-1], dtype=torch.float32)
    points, boxes, logits = _tensor(case.points), _tensor(case.boxes), case.logits
    if points is not None:
        points = (points + 0.5) * scale - 0.5
    if boxes is not None:
        boxes = ((boxes.reshape(*boxes.shape[:2], 2, 2) + 0.5) * scale - 0.5).reshape(boxes.shape)
    if logits is not None:
        logits = torch.as_tensor(logits).reshape(-1, 1, *config.logits_size)
    return model.prompt_encoder(
        input_points=points, input_labels=_tensor(case.labels), input_boxes=boxes, input_masks=logits
    )


def image_positions(model: transformers.SamModel, config: SamConfig) -> torch.Tensor:
    """Return the position encoding of the image embedding, [1 c h w]."""
    height, width = config.grid
    if height == width:
        return model.get_image_wide_positional_embeddings()
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return model.shared_image_embedding(torch.stack([x / width, y / height], dim=-1)).permute(2, 0, 1)[None]


def decode(
    model: transformers.SamModel, embedding: torch.Tensor, case: Case, config: SamConfig, *, multimask: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the reference's logits [b m k h w] and IoU [b m k] on image embeddings [b c h w].

    Objects are put on its batch axis: it takes a mask prompt an image, not one an object.
    """
    sparse, dense = embed(model, case, config)
    images = embedding.shape[0]
    objects = 1 if sparse is None else sparse.shape[1]
    if case.logits is not None:
        objects = case.logits.shape[1]
    count = images * objects
    if case.logits is None:
        dense = dense[:1]
    logits, iou = model.mask_decoder(
        image_embeddings=embedding.repeat_interleave(objects, 0),
        image_positional_embeddings=image_positions(model, config).expand(count, -1, -1, -1),
        sparse_prompt_embeddings=None if sparse is None else sparse.reshape(count, 1, *sparse.shape[2:]),
        dense_prompt_embeddings=dense,
        multimask_output=multimask,
    )
    return logits.reshape(images, objects, *logits.shape[2:]), iou.reshape(images, objects, -1)


def channels_first(image: np.ndarray) -> torch.Tensor:
    """Return [b h w c] as PyTorch's [b c h w]."""
    return torch.as_tensor(np.moveaxis(image, -1, 1).copy())


def to_numpy(array: torch.Tensor, *, channels_last: bool = False) -> np.ndarray:
    """Return a tensor as NumPy, [b c h w] as [b h w c] if asked."""
    array = array.detach().numpy()
    return np.moveaxis(array, 1, -1) if channels_last else array
