"""What `data_engine.py` found: figures of each stage from the photos' records, a table and a picture."""

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from simulated_annotator import Verdict

from samjax.pictures.plots import COLOURS, figure, save

CLICKS = (1, 3, 8)
"""After so many of them models are compared."""
MODELS = ("start", "stage_1", "stage_2", "stage_3")

_ROWS = (
    ("photos", "work/photos", "{:,}"),
    ("objects on them", "work/objects", "{:,}"),
    ("masks per photo", "work/masks_per_photo", "{:.1f}"),
    ("clicks per mask that the annotator made", "work/clicks_per_mask_made", "{:.1f}"),
    ("clicks per mask, with proposals that stayed", "work/clicks_per_mask", "{:.1f}"),
    ("of the masks made, finished with the brush", "work/brush_share", "{:.0%}"),
    ("IoU of the others with the object", "work/iou_of_clicked_masks", "{:.2f}"),
    ("server time per click, median", "work/answer_ms", "{:.0f} ms"),
    ("of it the model's", "work/decode_ms", "{:.0f} ms"),
    ("the model's own masks per photo", "work/proposals/per_photo", "{:.1f}"),
    ("of these wrong", "work/proposals/wrong_share", "{:.0%}"),
    ("of these double", "work/proposals/double_share", "{:.0%}"),
    ("wrong on photos that nobody annotated", "new/proposals/wrong_share", "{:.0%}"),
    ("objects found there", "new/found_share", "{:.0%}"),
    *((f"held-out mIoU@{count} afterwards", f"score/miou@{count}", "{:.3f}") for count in CLICKS),
)
"""Name, place and format of each line of the table."""

Figures = Mapping[str, Any]


def summarise(works: Sequence[Figures]) -> dict[str, Any]:
    """Return the figures of people's work: `works` are `PhotoWork`s as JSON."""
    made = [mask for work in works for mask in work["masks"]]
    proposals = sum((Counter(work["proposals"]) for work in works), Counter[str]())
    answers, decodes = ([ms for work in works for ms in work[name]] for name in ("answer_ms", "decode_ms"))
    earlier = sum(work["earlier"] for work in works)
    kept = proposals[Verdict.RIGHT]
    return {
        "photos": len(works),
        "objects": sum(work["objects"] for work in works),
        "objects_too_small": sum(work["small"] for work in works),
        "objects_without_mask": sum(work["without"] for work in works),
        "masks": kept + len(made) + earlier,
        "masks_of_an_interrupted_start": earlier,
        "masks_per_photo": _ratio(kept + len(made) + earlier, len(works)),
        "masks_by_brush": sum(mask["source"] == "brush" for mask in made),
        "brush_share": _ratio(sum(mask["source"] == "brush" for mask in made), len(made)),
        "iou_of_clicked_masks": _mean([mask["iou"] for mask in made if mask["source"] == "clicks"]),
        "clicks": len(answers),
        "clicks_per_mask_made": _ratio(len(answers), len(made)),
        "clicks_per_mask": _ratio(len(answers), len(made) + kept),
        "answer_ms": statistics.median(answers) if answers else None,
        "answer_ms_95": sorted(answers)[int(0.95 * len(answers))] if answers else None,
        "decode_ms": statistics.median(decodes) if decodes else None,
        "proposals": _verdicts(proposals, photos=len(works)),
    }


def summarise_generated(verdicts: Sequence[Mapping[str, int]], *, objects: int, found: int) -> dict[str, Any]:
    """Return the figures of generated masks: `verdicts` are each photo's counts; `found` of the `objects` are shown."""
    counts = sum(map(Counter, verdicts), Counter[str]())
    return {
        "photos": len(verdicts),
        "objects": objects,
        "objects_found": found,
        "found_share": _ratio(found, objects),
        "masks": sum(counts.values()),
        "masks_per_photo": _ratio(sum(counts.values()), len(verdicts)),
        "proposals": _verdicts(counts, photos=len(verdicts)),
    }


def _verdicts(counts: Mapping[str, int], *, photos: int) -> dict[str, Any]:
    total = sum(counts.values())
    found: dict[str, Any] = {verdict.value: counts.get(verdict.value, 0) for verdict in Verdict}
    shares = {f"{verdict.value}_share": _ratio(found[verdict.value], total) for verdict in Verdict}
    return {"count": total, "per_photo": _ratio(total, photos), **found, **shares}


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None


def table(results: Figures) -> str:
    """Return the results as a Markdown table, a column a model: what was done with the one before, and its scores."""
    stages = {name: results[name] for name in MODELS if name in results}
    lines = [f"| | {' | '.join(name.replace('_', ' ') for name in stages)} |", "|---|" + "---|" * len(stages)]
    for name, path, form in _ROWS:
        cells = [_text(stage, path, form) for stage in stages.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    minutes = [f"{stage['seconds'] / 60:.1f}" for stage in stages.values()]
    lines.append(f"| minutes | {' | '.join(minutes)} |")
    return "\n".join(lines)


def _text(stage: Any, path: str, form: str) -> str:
    """Return the figure at a path of keys in a stage's results; empty where there is none."""
    for key in path.split("/"):
        stage = None if stage is None else stage.get(key)
    return "" if stage is None else form.format(stage)


def draw(path: Path, results: Figures) -> None:
    """Write a picture: how well models do, how many masks a photo got, what a mask cost, and what masks are worth."""
    titles = (
        "mIoU on photos held out",
        "Masks per photo",
        "Clicks per mask, with proposals that stayed",
        "Masks of the model alone, shares",
    )
    drawn, (scores, masks, clicks, worth) = figure(*titles, width=11.0, height=7.0, columns=2)
    stages = [name for name in MODELS if name in results]
    for count in CLICKS:
        points = [(n, (results[name].get("score") or {}).get(f"miou@{count}")) for n, name in enumerate(stages)]
        there = [(n, value) for n, value in points if value is not None]
        scores.plot(
            [n for n, _ in there], [value for _, value in there], marker="o", label=f"{count} click{'s' * (count > 1)}"
        )
    scores.set_ylim(bottom=0)
    scores.set_xticks(range(len(stages)), [name.replace("_", " ") for name in stages])
    scores.legend(frameon=False, fontsize=8)
    worked = [name for name in stages if "work" in results[name]]
    _bars(masks, worked, [results[name]["work"]["masks_per_photo"] for name in worked])
    people = [name for name in worked if results[name]["work"].get("clicks")]
    _bars(clicks, people, [results[name]["work"]["clicks_per_mask"] for name in people])
    judged = {
        f"{name}{addition}".replace("_", " "): results[name][part]["proposals"]
        for name in worked
        for part, addition in (("work", ""), ("new", ", new photos"))
        if (results[name].get(part) or {}).get("proposals", {}).get("count")
    }
    below = [0.0] * len(judged)
    for verdict, colour in zip(Verdict, (COLOURS[2], COLOURS[0], COLOURS[1]), strict=True):
        values = [one[verdict.value] / one["count"] for one in judged.values()]
        worth.bar(range(len(judged)), values, bottom=below, label=verdict.value, color=colour, width=0.6)
        below = [low + value for low, value in zip(below, values, strict=True)]
    worth.set_xticks(range(len(judged)), list(judged))
    worth.set_ylim(0, 1.2)
    if judged:
        worth.legend(frameon=False, fontsize=8, ncols=len(Verdict), loc="upper center")
    save(drawn, path)


def _bars(panel: Any, names: Sequence[str], values: Sequence[float | None]) -> None:
    bars = panel.bar(range(len(names)), [value or 0.0 for value in values], width=0.6, color=COLOURS[0])
    panel.bar_label(bars, [f"{value or 0.0:.1f}" for value in values], padding=3, fontsize=8)
    panel.set_xticks(range(len(names)), [name.replace("_", " ") for name in names])
    panel.margins(y=0.15)
