"""The config.json of transformers' DPT: what no array says, and where it is at odds with the arrays beside it."""

from collections.abc import Mapping
from typing import Any

from samjax.core.errors import UserError
from samjax.interop.family import Source
from samjax.interop.tables.dpt_rows import AUTHORS
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.models.heads.dpt import DptDepthConfig, DptSegmentationConfig
from samjax.models.heads.dpt_fusion import STRIDES
from samjax.models.vit.dpt_vit import DptVitConfig

_DEFAULTS: Mapping[str, Any] = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "layer_norm_eps": 1e-12,
    "image_size": 384,
    "patch_size": 16,
    "is_hybrid": False,
    "backbone_out_indices": [2, 5, 8, 11],
    "reassemble_factors": [4, 2, 1, 0.5],
    "neck_hidden_sizes": [96, 192, 384, 768],
    "fusion_hidden_size": 256,
    "semantic_classifier_dropout": 0.1,
}
"""Transformers' own, which its files may leave out."""
_FIXED = {
    "hidden_act": "gelu",
    "readout_type": "project",
    "num_channels": 3,
    "qkv_bias": True,
    "head_in_index": -1,
    "add_projection": False,
}
_FIXED_RESNET = {"embedding_dynamic_padding": True, "width_factor": 1}
"""Fields of a config.json, and of its `backbone_config`, that every model here has alike."""
_GROUPS = 32


def config_fields(source: Source) -> Mapping[str, Any] | None:
    """Return config.json's fields with transformers' defaults, and None where there is no such file.

    Raises:
      UserError: it is of a model that is not computed here.
    """
    config = source.config_json
    if config is None or source.naming.name == AUTHORS:
        return None
    name = f"{source.name}/config.json"
    if config.get("model_type") != "dpt":
        raise UserError(f"{name} is of a model of type {config.get('model_type')!r:.40}, expected 'dpt'")
    fields = {**_DEFAULTS, **config}
    faults = [
        f"{field} is {fields[field]!r:.40}, expected {value!r}"
        for field, value in _FIXED.items()
        if fields.get(field, value) != value
    ]
    blocks, heads = fields["backbone_out_indices"], fields["num_attention_heads"]
    if not isinstance(blocks, list) or not all(type(block) is int for block in blocks) or type(heads) is not int:
        faults.append("backbone_out_indices or num_attention_heads are no numbers")
    epsilon, rate = fields["layer_norm_eps"], fields["semantic_classifier_dropout"]
    if type(epsilon) not in (int, float) or not 0 < epsilon < 1:
        faults.append(f"layer_norm_eps is {epsilon!r:.40}, expected a number from 0 to 1")
    if type(rate) not in (int, float) or not 0 <= rate < 1:
        faults.append(f"semantic_classifier_dropout is {rate!r:.40}, expected a rate below 1")
    faults += _faults_of_resnet(fields)
    if faults:
        raise UserError(f"samjax does not support the model of {name}: {'; '.join(faults)}")
    return fields


def _faults_of_resnet(fields: Mapping[str, Any]) -> list[str]:
    resnet = fields.get("backbone_config")
    if not fields["is_hybrid"]:
        return [] if resnet is None else ["backbone_config is given of a model that is no hybrid"]
    if resnet is None:
        return []
    if not isinstance(resnet, dict):
        return [f"backbone_config is {resnet!r:.40}, expected fields"]
    faults = [
        f"backbone_config.{field} is {resnet[field]!r:.40}, expected {value!r}"
        for field, value in _FIXED_RESNET.items()
        if resnet.get(field, value) != value
    ]
    groups = resnet.get("num_groups", _GROUPS)
    if type(groups) is not int or groups < 1:
        faults.append(f"backbone_config.num_groups is {groups!r:.40}, expected a count")
    if resnet.get("layer_type", "bottleneck") != "bottleneck":
        faults.append(f"backbone_config.layer_type is {resnet['layer_type']!r:.40}, expected 'bottleneck'")
    if str(resnet.get("global_padding", "same")).lower() != "same":
        faults.append(f"backbone_config.global_padding is {resnet['global_padding']!r:.40}, expected 'same'")
    return faults


def groups_of(fields: Mapping[str, Any] | None) -> int:
    """Return the groups of a hybrid's norms: the published ones' where there is no config.json."""
    resnet = (fields or {}).get("backbone_config") or {}
    return resnet.get("num_groups", _GROUPS)


def check_against(fields: Mapping[str, Any], config: DenseConfig, *, name: str) -> None:
    """Refuse a config.json, called `name`, that contradicts what the arrays beside it say.

    Raises:
      UserError: names the field.
    """
    encoder, head = config.encoder, config.head
    assert isinstance(encoder, DptVitConfig)
    assert isinstance(head, DptDepthConfig | DptSegmentationConfig)
    found = {
        "is_hybrid": encoder.resnet is not None,
        "hidden_size": encoder.width,
        "num_hidden_layers": encoder.depth,
        "intermediate_size": encoder.mlp_ratio * encoder.width,
        "image_size": encoder.table_size[0],
        "patch_size": encoder.patch,
        "fusion_hidden_size": head.width,
        "neck_hidden_sizes": neck_sizes(config),
        "reassemble_factors": reassemble_factors(config),
    }
    for field, value in found.items():
        given = fields[field]
        if isinstance(given, list | tuple) and isinstance(value, list):  # of a map as it is, no factor is used
            given = [
                mine if not width else theirs
                for mine, theirs, width in zip(value, given, head.map_widths, strict=False)
            ]
        if given != value and given != [value, value]:  # a side, or both
            raise UserError(f"{name}: {field} is {given!r:.60}, but the arrays beside it are of {value}")


def neck_sizes(config: DenseConfig) -> list[int]:
    """Return the channels of the four maps before they are narrowed."""
    head: Any = config.head
    return [own or given for own, given in zip(head.map_widths, config.encoder.channels, strict=True)]


def reassemble_factors(config: DenseConfig) -> list[int | float]:
    """Return how much each of the four maps is enlarged, half for one that is halved."""
    factors = [stride / target for stride, target in zip(config.encoder.strides, STRIDES, strict=True)]
    return [int(factor) if factor == int(factor) else factor for factor in factors]
