"""Statistics of a data source as text, JSON and histograms."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from samjax.data.survey import Survey
from samjax.pictures.histograms import Histogram, Tick, plot_histograms

_QUANTILES = {"least": 0, "p5": 5, "p25": 25, "median": 50, "p75": 75, "p95": 95, "most": 100}
_SHARES = tuple(Tick(value=10.0**power, label=f"{100 * 10.0**power:g}%") for power in range(-7, 1))
_ASPECTS = (
    (1 / 4, "1:4"), (1 / 3, "1:3"), (1 / 2, "1:2"), (9 / 16, "9:16"), (2 / 3, "2:3"), (3 / 4, "3:4"), (1.0, "1:1"),
    (4 / 3, "4:3"), (3 / 2, "3:2"), (16 / 9, "16:9"), (2.0, "2:1"), (3.0, "3:1"), (4.0, "4:1"),
)  # fmt: skip


def describe(found: Survey) -> str:
    """Return the survey in a few lines to read."""
    photos, masks = len(found.masks), len(found.shares)
    of = "all" if found.sample == found.total else f"{found.sample:,} drawn at random of"
    lines = [f"  records  {of} {found.total:,}; {photos:,} photos, {masks:,} masks"]
    if photos:
        sides = np.sort(found.sizes, axis=1)
        lines += [
            f"  photos   shortest side {_spread(sides[:, 0], str)} pixels, longest {_spread(sides[:, 1], str)}",
            f"  masks    {masks / photos:,.1f} a photo: {_spread(found.masks, str)}",
        ]
    if masks:
        lines.append(f"  area     {_spread(found.shares, _percent)} of the photo")
    dropped = sum(found.faults.values())
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in found.faults.items())
    lines.append(f"  broken   {dropped:,} records{f': {kinds}' if dropped else ''}")
    lines += [f"           {example}" for example in found.examples]
    return "\n".join(lines)


def summarise(found: Survey) -> dict[str, Any]:
    """Return the survey as numbers for JSON."""
    return {
        "total": found.total,
        "sampled": found.sample,
        "photos": len(found.masks),
        "masks": len(found.shares),
        "broken": sum(found.faults.values()),
        "faults": found.faults,
        "examples": list(found.examples),
        "masks_a_photo": _quantiles(found.masks),
        "area_share": _quantiles(found.shares),
        "aspect": _quantiles(found.aspects),
        "height": _quantiles(found.sizes[:, 0]),
        "width": _quantiles(found.sizes[:, 1]),
    }


def plot_survey(path: Path, found: Survey) -> None:
    """Write histograms of masks a photo, the area of masks and the aspect ratio of photos as a PNG."""
    plot_histograms(
        path,
        [
            Histogram(
                title="Masks a photo",
                axis="masks",
                unit="photos",
                values=found.masks,
                median=_median(found.masks, str),
            ),
            Histogram(
                title="Area of a mask",
                axis="share of the photo",
                unit="masks",
                values=found.shares,
                median=_median(found.shares, _percent),
                logarithmic=True,
                ticks=_SHARES,
            ),
            Histogram(
                title="Aspect ratio of a photo",
                axis="width : height",
                unit="photos",
                values=found.aspects,
                median=_median(found.aspects, lambda aspect: f"{aspect:.2f}"),
                logarithmic=True,
                ticks=tuple(Tick(value=value, label=label) for value, label in _ASPECTS),
            ),
        ],
    )


def _quantiles(values: Float[np.ndarray, "n"] | Int[np.ndarray, "n"]) -> dict[str, float] | None:
    """Return the mean and some quantiles; None of nothing."""
    if not len(values):
        return None
    quantiles = np.percentile(values, list(_QUANTILES.values()))
    return {"mean": float(values.mean()), **dict(zip(_QUANTILES, quantiles.tolist(), strict=True))}


def _spread(values: Float[np.ndarray, "n"] | Int[np.ndarray, "n"], text: Callable[[Any], str]) -> str:
    """Return least, median and greatest in words."""
    least, most = values.min(), values.max()
    return text(least) if least == most else f"{text(least)} to {text(most)}, {_median(values, text)}"


def _median(values: Float[np.ndarray, "n"] | Int[np.ndarray, "n"], text: Callable[[Any], str]) -> str:
    """Return the median in words, one of the values; nothing of nothing."""
    return f"median {text(np.percentile(values, 50, method='lower'))}" if len(values) else ""


def _percent(share: float) -> str:
    return f"{100 * share:.2g}%" if share < 0.0995 else f"{100 * share:.0f}%"
