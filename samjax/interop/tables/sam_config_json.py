"""The config.json beside a SamModel's weights: what shapes do not say, and what no model here computes."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from samjax.core.errors import UserError
from samjax.interop.tables.sam_geometry import Hints
from samjax.models.sam.sam import SamConfig

_VISION, _PROMPT, _DECODER = "vision_config", "prompt_encoder_config", "mask_decoder_config"


class _Field(NamedTuple):
    """A field of config.json: its default in transformers, where it is left out, and the values it may have."""

    part: str
    name: str
    default: Any
    allowed: tuple[Any, ...]


_FIXED = (
    _Field(_VISION, "hidden_act", "gelu", ("gelu",)),
    _Field(_VISION, "layer_norm_eps", 1e-6, (1e-6,)),
    _Field(_VISION, "num_channels", 3, (3,)),
    _Field(_VISION, "qkv_bias", True, (True,)),
    _Field(_VISION, "use_abs_pos", True, (True,)),
    _Field(_VISION, "use_rel_pos", True, (True,)),
    _Field(_PROMPT, "hidden_act", "gelu", ("gelu",)),
    _Field(_PROMPT, "layer_norm_eps", 1e-6, (1e-6,)),
    _Field(_PROMPT, "num_point_embeddings", 4, (4,)),
    _Field(_DECODER, "hidden_act", "relu", ("relu",)),
    _Field(_DECODER, "attention_downsample_rate", 2, (2,)),
    _Field(_DECODER, "num_multimask_outputs", 3, (3,)),
    _Field(_DECODER, "iou_head_depth", 3, (3,)),
    _Field(_DECODER, "layer_norm_eps", 1e-6, (1e-5, 1e-6)),
)


def hints_from_json(config: Mapping[str, Any], *, name: str) -> Hints:
    """Return what a SamModel's config.json, called `name`, says beyond its shapes.

    Raises:
      UserError: it is of another model, or of one that is computed in another way than here; every such field.
    """
    if config.get("model_type") != "sam":
        raise UserError(f"{name} is of a model of type {config.get('model_type')!r:.40}, expected 'sam'")
    faults = []
    for field in _FIXED:
        value = _value(config, field.part, field.name, field.default)
        if value not in field.allowed:
            expected = " or ".join(map(repr, field.allowed))
            faults.append(f"{field.part}.{field.name} is {value!r:.40}, expected {expected}")
    heads = _value(config, _DECODER, "num_attention_heads", 8)
    if type(heads) is not int or heads < 1:
        faults.append(f"{_DECODER}.num_attention_heads is {heads!r:.40}, expected a number")
    blocks = _value(config, _VISION, "global_attn_indexes", [2, 5, 8, 11])
    if not isinstance(blocks, list) or not all(type(block) is int for block in blocks):
        faults.append(f"{_VISION}.global_attn_indexes is {blocks!r:.40}, expected a list of numbers")
    if faults:
        raise UserError(f"{name} is not a model that samjax supports: {'; '.join(faults)}")
    return Hints(decoder_heads=heads, global_blocks=tuple(sorted(blocks)))


def check_against(config: Mapping[str, Any], read: SamConfig, *, name: str) -> None:
    """Raise a `UserError` where config.json and the shapes that `read` is from are at odds."""
    encoder = read.image_encoder
    for field, default, shaped in [
        ("num_attention_heads", 12, encoder.heads),
        ("window_size", 14, encoder.window),
    ]:
        said = _value(config, _VISION, field, default)
        if said != shaped:
            raise UserError(f"{name}: {_VISION}.{field} is {said!r:.40}, but the arrays beside it are of {shaped}")


def notes(config: Mapping[str, Any]) -> list[str]:
    """Return what is computed in another way here, though it is imported."""
    if _value(config, _DECODER, "layer_norm_eps", 1e-6) == 1e-5:
        return []
    return [
        "config.json gives the mask decoder's norms an epsilon of 1e-6, transformers' default; here it is 1e-5, with "
        "which the released weights were trained"
    ]


def _value(config: Mapping[str, Any], part: str, name: str, default: Any) -> Any:
    inner = config.get(part)
    return inner.get(name, default) if isinstance(inner, dict) else default
