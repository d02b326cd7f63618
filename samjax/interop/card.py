"""The model card of exported weights: what the model is, how it was trained, its scores, and how to load it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import PurePosixPath
from typing import Any

import jax
from etils import epath

from samjax.checkpoint.weights import Weights

UNSPECIFIED = "other"


@dataclass(frozen=True, kw_only=True)
class Use:
    """How to load a format's folder, and with which library."""

    library: str
    """As Hugging Face's cards name it."""
    files: str
    """A sentence on what lies beside the card."""
    python: str
    """A program that loads it."""


@dataclass(frozen=True, kw_only=True)
class About:
    """A family's part of a model card, independent of the format."""

    title: str
    pipeline_tag: str
    """As Hugging Face's cards name the task."""
    tags: tuple[str, ...]
    architecture: str
    rows: Mapping[str, str]
    """Of the table of the model, by name."""


def card(weights: Weights, about: About, use: Use, *, license: str = UNSPECIFIED) -> str:
    """Return a model card, Markdown under a header of YAML, from the run's config, data and metrics."""
    sources = _sources(weights.config)
    header = {
        "license": license,
        **({"license_name": "unspecified"} if license == UNSPECIFIED else {}),
        "library_name": use.library,
        "pipeline_tag": about.pipeline_tag,
        "tags": [*about.tags, "samjax"],
        **({"datasets": sources} if sources else {}),
    }
    yaml = "\n".join(f"{key}: {json.dumps(value)}" for key, value in header.items())  # JSON is YAML
    parts = [
        f"---\n{yaml}\n---\n\n# {about.title}",
        f"{use.files}\n\n```python\n{use.python}```",
        f"## Model\n\n{_table(_of_model(weights, about))}",
        f"## Training\n\n{_training(weights, sources)}",
        f"## Metrics\n\n{_metrics(weights)}",
        f"## Licence\n\n{_licence(license)}",
    ]
    return "\n\n".join(parts) + "\n"


def _table(rows: dict[str, Any]) -> str:
    return "\n".join(["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows.items())])


def _of_model(weights: Weights, about: About) -> dict[str, str]:
    parameters = sum(leaf.size for leaf in jax.tree.leaves(weights.params))
    return {"architecture": about.architecture, "parameters": f"{parameters:,}", **about.rows}


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
    optim = config.get("optim", {})
    schedule = optim.get("schedule", {})
    rows = {
        "data": ", ".join(f"`{source}`" for source in sources) or "not recorded",
        **({"begun with": f"`{PurePosixPath(begun).name}`"} if (begun := config.get("init_from")) else {}),
        "steps": f"{config.get('steps', 'not recorded')}"
        if step is None
        else f"{step:,} of {config.get('steps', 0):,}",
        "photos a step": photos,
        **(_annotator(config) if "prompting" in config else {}),
        "optimiser": f"{'Muon and ' if optim.get('muon') else ''}AdamW, peak rate {schedule.get('peak_lr')}, "
        f"{_of_schedule(schedule)}, weight decay "
        f"{optim.get('weight_decay')}, layer decay {optim.get('layer_decay')}",
        "computed in": config.get("model", {}).get("dtype"),
        "seed": config.get("seed"),
    }
    return f"{_table(rows)}\n\nExported by samjax {version('samjax')}."


def _of_schedule(schedule: dict[str, Any]) -> str:
    """Describe all of a schedule but its peak, whatever its kind."""
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in schedule.items() if name != "peak_lr")


def _annotator(config: dict[str, Any]) -> dict[str, str]:
    prompting = config["prompting"]
    return {
        "masks a photo": f"at most {config.get('data', {}).get('max_masks')}",
        "simulated annotator": f"point or box (points: {prompting.get('point_probability')}), then "
        f"{prompting.get('corrections')} correction rounds",
    }


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
    clicks = (
        f"After k simulated clicks, on {row.get('masks', 'the')} masks of" if "prompting" in weights.config else "On"
    )
    return (
        f"{_table(scores)}\n\n{clicks} {row.get('photos', 'the')} held-out photos, in the model's frame, at step "
        f"{row['step']:,}."
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
