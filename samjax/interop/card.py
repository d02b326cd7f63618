"""The card beside exported weights: what the model is, how it was trained, how well it does, how it is loaded."""

import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import PurePosixPath
from typing import Any

import jax
from etils import epath

from samjax.checkpoint.weights import Weights
from samjax.interop.geometry import size_name
from samjax.models.sam.config import SamConfig

UNSPECIFIED = "other"


@dataclass(frozen=True, kw_only=True)
class Use:
    """What a format's folder is loaded with, and how."""

    library: str
    """As Hugging Face's cards name it."""
    files: str
    """A sentence on what lies beside the card."""
    python: str
    """A program that loads it."""


def card(weights: Weights, model: SamConfig, use: Use, *, license: str = UNSPECIFIED) -> str:
    """Return a model card, Markdown under a header of YAML, from the run's config, data and metrics."""
    sources = _sources(weights.config)
    header = {
        "license": license,
        **({"license_name": "unspecified"} if license == UNSPECIFIED else {}),
        "library_name": use.library,
        "pipeline_tag": "mask-generation",
        "tags": ["segment-anything", "samjax"],
        **({"datasets": sources} if sources else {}),
    }
    yaml = "\n".join(f"{key}: {json.dumps(value)}" for key, value in header.items())  # JSON is YAML
    parts = [
        f"---\n{yaml}\n---\n\n# Segment Anything, {size_name(model)}",
        f"{use.files}\n\n```python\n{use.python}```",
        f"## Model\n\n{_table(_of_model(weights, model))}",
        f"## Training\n\n{_training(weights, sources)}",
        f"## Metrics\n\n{_metrics(weights)}",
        f"## Licence\n\n{_licence(license)}",
    ]
    return "\n\n".join(parts) + "\n"


def _table(rows: dict[str, Any]) -> str:
    return "\n".join(["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows.items())])


def _of_model(weights: Weights, model: SamConfig) -> dict[str, Any]:
    encoder, (height, width) = model.image_encoder, model.image_size
    parameters = sum(leaf.size for leaf in jax.tree.leaves(weights.params))
    return {
        "architecture": "Segment Anything (Kirillov et al., ICCV 2023): image encoder, prompt encoder, mask decoder",
        "parameters": f"{parameters:,}",
        "image encoder": f"{encoder.depth} blocks of width {encoder.width}, {encoder.heads} heads, patch "
        f"{encoder.patch}; windows of {encoder.window}, one block in {encoder.global_every} global",
        "frame": f"{height} x {width} pixels; a photo is scaled to fit, in the top left corner",
        "mask decoder": f"{model.mask_decoder.depth} two-way layers of width {model.embedding}, four masks an object "
        f"of {model.logits_size[0]} x {model.logits_size[1]} pixels",
    }


def _sources(config: dict[str, Any]) -> list[str]:
    """Return the names of the data sets, without the folders they lay in."""
    data = config.get("data", {})
    sources = [data.get("source", ""), *(mixed.get("source", "") for mixed in data.get("mixed_in", []))]
    return [source if source.startswith("synthetic:") else PurePosixPath(source).name for source in sources if source]


def _training(weights: Weights, sources: list[str]) -> str:
    config, imported = weights.config, weights.config.get("imported")
    if imported:
        sums = imported.get("sha256", {})
        files = "".join(f"\n- `{name}`, sha256 `{digest}`" for name, digest in sums.items())
        source, format = imported.get("from"), imported.get("format")
        return f"Not trained by samjax: imported from `{source}`, in the format {format}.{files}"
    step, photos = _step(weights), config.get("batch_size")
    optim, prompting = config.get("optim", {}), config.get("prompting", {})
    schedule = optim.get("schedule", {})
    rows = {
        "data": ", ".join(f"`{source}`" for source in sources) or "not recorded",
        **({"begun with": f"`{PurePosixPath(begun).name}`"} if (begun := config.get("init_from")) else {}),
        "steps": f"{config.get('steps', 'not recorded')}"
        if step is None
        else f"{step:,} of {config.get('steps', 0):,}",
        "photos a step": photos,
        "masks a photo": f"at most {config.get('data', {}).get('max_masks')}",
        "simulated annotator": f"point or box (points: {prompting.get('point_probability')}), then "
        f"{prompting.get('corrections')} correction rounds",
        "optimiser": f"AdamW, peak rate {schedule.get('peak_lr')}, warmup {schedule.get('warmup_steps')} steps, times "
        f"{schedule.get('drop_factor')} at {schedule.get('milestones')}, weight decay {optim.get('weight_decay')}, "
        f"layer decay {optim.get('layer_decay')}",
        "computed in": config.get("model", {}).get("dtype"),
        "seed": config.get("seed"),
    }
    return f"{_table(rows)}\n\nExported by samjax {version('samjax')}."


def _step(weights: Weights) -> int | None:
    """Return the step of a run's checkpoint."""
    return int(weights.path.name) if weights.path.name.isdecimal() else None


def _metrics(weights: Weights) -> str:
    row = validation_row(weights)
    if row is None:
        return "No validation of this run is at hand."
    scores = {
        name.replace("miou", "mIoU").replace("oracle", "best of three, mIoU"): f"{value:.4f}"
        for name, value in row.items()
        if isinstance(value, float)
    }
    return (
        f"{_table(scores)}\n\nAfter k simulated clicks, on {row.get('masks', 'the')} masks of "
        f"{row.get('photos', 'the')} held-out photos, in the model's frame, at step {row['step']:,}."
    )


def validation_row(weights: Weights) -> dict[str, Any] | None:
    """Return the last validation of the run up to this checkpoint, from the metrics.jsonl of its workdir."""
    step, file = _step(weights), epath.Path(weights.path.parent.parent) / "metrics.jsonl"
    if step is None or not file.exists():
        return None
    found = None
    for line in file.read_text().splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:  # a last line cut off by a crash
            break
        if row.get("split") == "val" and row["step"] <= step:
            found = row
    return found


def _licence(license: str) -> str:
    if license == UNSPECIFIED:
        said = "Whoever trained these weights decides on their licence, and has not said it here."
    else:
        said = f"The weights are under `{license}`, as said by whoever exported them."
    return (
        f"{said} That of samjax's code, Apache-2.0, covers neither the weights nor the photos and masks they were "
        "trained on; data sets, SA-1B among them, have terms of their own."
    )
