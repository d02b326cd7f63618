"""`samjax data inspect`: look at data before training on it."""

import argparse
import contextlib
import dataclasses
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from samjax.cli.arguments import refuse_more, whole_number
from samjax.cli.progress_bar import progress
from samjax.core.errors import UserError
from samjax.core.experiment import load_experiment
from samjax.core.files import write_png, write_whole
from samjax.core.ranges import PIXELS, SEED

_DESCRIPTION = """\
Draw a batch of SOURCE exactly as the model sees it (photos in their frames, masks, first prompts), take statistics of a
sample of its records, and draw histograms of masks per photo, mask area and aspect ratio. SOURCE is anything that
training takes: a prepared folder, tars, or synthetic: with its parameters."""

_SHEET, _HISTOGRAMS, _COUNTS = "batch.png", "histograms.png", "inspection.json"
_MOST_TARS = 2 * 2**30  # bytes: about two thousand photos of SA-1B


def add_parser(actions, name: str) -> None:
    """Add `samjax data inspect`."""
    parser = actions.add_parser(
        name, help="pictures and statistics of what training will see", description=_DESCRIPTION
    )
    parser.add_argument("source", metavar="SOURCE", nargs="?", help="default: the experiment's data.source")
    parser.add_argument(
        "--experiment",
        metavar="EXPERIMENT.py",
        help="take mask rules, frame, annotator, seed and split from this experiment (default: the paper's)",
    )
    parser.add_argument("--split", help="split of the source (default: the experiment's, or train)")
    parser.add_argument("--out", default="inspection", metavar="DIR", help="folder to write (default: inspection)")
    parser.add_argument(
        "--photos", type=whole_number("--photos"), default=6, metavar="N", help="photos to draw (default: 6)"
    )
    parser.add_argument(
        "--records",
        type=whole_number("--records"),
        default=1_000,
        metavar="N",
        help="records to take statistics of, drawn at random (default: 1,000)",
    )
    parser.add_argument(
        "--image-size",
        type=whole_number("--image-size", PIXELS),
        nargs=2,
        metavar=("H", "W"),
        help="the model's frame (default: the experiment's, or 1024 1024)",
    )
    parser.add_argument(
        "--seed",
        type=whole_number("--seed", SEED),
        metavar="S",
        help="seed of the order and the random draws (default: the experiment's)",
    )
    parser.set_defaults(run=_run)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Request:
    """What to inspect, merged from the experiment and the command line."""

    name: str
    data: Any
    prompting: Any
    image_size: tuple[int, int]
    seed: int
    photos: int
    records: int


def _run(known: argparse.Namespace, rest: list[str]) -> int:
    refuse_more(rest, "data inspect")
    request, out = _request(known), Path(known.out)
    _refuse_without_masks(request.data.source)
    _make_folder(out)
    with _as_records(request) as (request, prepared):
        found = {
            "source": request.name,
            "seed": request.seed,
            "prepared": prepared,
            "records": _survey(request, out),
        }
        _write_json(out, found)  # written even if the batch fails
        _write_json(out, {**found, "batch": _batch(request, out)})
    print(f"wrote {out / _SHEET}, {out / _HISTOGRAMS}, {out / _COUNTS}")
    return 0


def _request(known: argparse.Namespace) -> _Request:
    from samjax.data.masks.mask_data import MaskDataConfig
    from samjax.prompting.interactive import InteractionConfig

    if known.experiment is not None:
        from samjax.tasks.promptable import PromptableTraining

        config = load_experiment(known.experiment, PromptableTraining)
        data, prompting, image_size, seed = config.data, config.prompting, config.model.image_size, config.seed
    elif known.source is None:
        raise UserError("nothing to inspect: give SOURCE (a prepared folder, tars, synthetic:) or --experiment")
    else:
        data, prompting, image_size, seed = MaskDataConfig(source=""), InteractionConfig(), (1024, 1024), 0
    source, split = data.source if known.source is None else known.source, known.split or data.split
    return _Request(
        name=f"{source}, {split}",
        data=dataclasses.replace(
            data,
            source=source,
            split=split,
            workers=0,  # a few photos need no prefetching
            prefetch_batches=1,
        ),
        prompting=prompting,
        image_size=image_size if known.image_size is None else tuple(known.image_size),
        seed=seed if known.seed is None else known.seed,
        photos=known.photos,
        records=known.records,
    )


def _refuse_without_masks(source: str) -> None:
    from data_pipelines.dataset_kinds import holds_masks, open_dataset

    if not holds_masks(source):
        raise UserError(
            f"{source} holds photos without masks ({open_dataset(source)[2].name}): inspect draws what training with "
            f"masks sees; count and decode them with `samjax data verify {source}`"
        )


def _make_folder(out: Path) -> None:
    """Create `out`, or remove an earlier inspection from it if it holds nothing else."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        names = {path.name for path in out.iterdir() if not path.name.startswith(".")}
        others = sorted(names - {_SHEET, _HISTOGRAMS, _COUNTS})
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise UserError(f"{out} cannot be written ({error.strerror or error}): give another --out") from error
    if others:
        raise UserError(f"{out} holds {others[0]}, which is not of an inspection: give another --out")
    for name in (_SHEET, _HISTOGRAMS, _COUNTS):
        (out / name).unlink(missing_ok=True)  # else an old picture could sit beside new counts


@contextlib.contextmanager
def _as_records(request: _Request) -> Iterator[tuple[_Request, dict[str, Any] | None]]:
    """Yield `request` with a source of records, preparing tars temporarily, and what that preparation counted."""
    from data_pipelines import sa1b
    from samjax.data.stream.sources import is_sa1b_layout

    source = request.data.source
    if not is_sa1b_layout(source):
        yield request, None
        return
    with tempfile.TemporaryDirectory(prefix="samjax_inspect_") as folder:
        part = _first_tars(source)
        if part != source:
            print(f"{source} is large: inspecting only its first tar, {part}")
        records = Path(folder) / "records"
        report = sa1b.prepare(part, records, split=request.data.split)
        found = {name: getattr(report, name) for name in ("records", "masks", "dropped", "reasons", "examples")}
        print(f"prepared {part}: {report.records:,} photos, {report.masks:,} masks, {report.dropped:,} dropped")
        for example in report.examples:
            print(f"  {example}")
        data = dataclasses.replace(request.data, source=str(records))
        yield dataclasses.replace(request, data=data), {"source": part, **found}


def _first_tars(source: str) -> str:
    """Return `source`, or its first tar if preparing all of them would take long."""
    from data_pipelines.units import find_units

    units = find_units(source)
    tars = [unit for unit in units if unit.pairs is None]
    return tars[0].path if tars and len(units) > 1 and sum(unit.size for unit in units) > _MOST_TARS else source


def _survey(request: _Request, out: Path) -> dict[str, Any]:
    """Take statistics of a sample of the records, print and draw them, and return them for the file."""
    from samjax.data.stream.sources import open_source
    from samjax.data.survey import survey
    from samjax.eval.source_report import describe, plot_survey, summarise

    source = open_source(request.data.source, request.data.split)
    with progress("records", total=min(request.records, len(source))) as bar:
        found = survey(source, sample=request.records, seed=request.seed, advance=lambda: bar(1))
    print(f"{request.name}\n{describe(found)}")
    plot_survey(out / _HISTOGRAMS, found)
    return summarise(found)


def _batch(request: _Request, out: Path) -> dict[str, Any]:
    """Draw the first batch of the stream, print what it excluded, and return that for the file."""
    import jax
    import numpy as np

    from samjax.core.random import Stream, derive
    from samjax.data.masks.mask_data import MaskExamples
    from samjax.data.stream.loader import train_stream
    from samjax.pictures.batch_sheet import batch_grid
    from samjax.prompting.first_prompts import first_prompts

    maker = MaskExamples(request.data, image_size=request.image_size)
    stream = train_stream(request.data, maker, batch_size=request.photos, seed=request.seed)
    try:
        batch = next(stream)
        counts = dict(stream.counts)
    finally:
        stream.close()
    usual = ("records", "masks")
    left_out = ", ".join(
        f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items() if count and name not in usual
    )
    if not np.asarray(batch.mask_valid).any():
        raise UserError(
            f"{request.name}: none of the first {request.photos} photos can be used ({left_out}); loosen the rules of "
            "the experiment's data, or give more --photos"
        )
    height, width = request.image_size
    print(
        f"  batch    {counts['records']:,} photos in a frame of {height} x {width}, {counts['masks']:,} masks; "
        f"left out: {left_out or 'none'}"
    )
    key = derive(jax.random.key(request.seed), Stream.TASK)
    prompts = first_prompts(batch, image_size=request.image_size, config=request.prompting, key=key)
    title = f"{request.name}: the first {request.photos} photos of seed {request.seed}"
    write_png(out / _SHEET, batch_grid(batch, prompts, title=title).draw())
    return {
        "image_size": list(request.image_size),
        "record_ids": np.asarray(batch.record_id).tolist(),
        "counts": counts,
    }


def _write_json(out: Path, counts: dict[str, Any]) -> None:
    write_whole(out / _COUNTS, json.dumps(counts, indent=1) + "\n")
