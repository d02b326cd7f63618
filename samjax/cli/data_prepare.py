"""`samjax data prepare`: SA-1B tars to records."""

import argparse
import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from samjax.cli.arguments import refuse_more, whole_number
from samjax.cli.progress_bar import progress
from samjax.core.errors import UserError

_DESCRIPTION = """\
Read tars, or folders of extracted pairs, in the layout of SA-1B (sa_<id>.jpg beside sa_<id>.json) into ArrayRecord
shards with TFDS's segment_anything schema. JPEG bytes are kept as they are. The same command goes on with what was
interrupted, by whatever; shards that are finished are not made again. With --runner the shards are made by an Apache
Beam pipeline, and every further option is Beam's."""
_LINE_EVERY_S = 30.0


def add_parser(actions, name: str) -> None:
    """Add `samjax data prepare`."""
    parser = actions.add_parser(
        name,
        help="SA-1B tars to ArrayRecord shards",
        description=_DESCRIPTION,
        allow_abbrev=False,  # or an option of Beam's would be taken for one of these
    )
    parser.add_argument(
        "--source",
        required=True,
        action="extend",
        nargs="+",
        metavar="PATH",
        help="tars, quoted globs of tars, folders of tars or of pairs; gs:// and s3:// too",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write, or to go on with")
    parser.add_argument("--split", default="train", help="name of the split (default: train)")
    parser.add_argument(
        "--workers", type=whole_number("--workers"), metavar="N", help="processes (default: one for every core)"
    )
    parser.add_argument("--runner", metavar="NAME", help="a Beam runner: DirectRunner, DataflowRunner, ...")
    parser.set_defaults(run=_run)


def _run(known: argparse.Namespace, rest: list[str]) -> int:
    from data_pipelines import sa1b

    if known.runner:
        if known.workers:
            raise UserError("--workers is for a run without --runner: give the runner's own option instead")
        run = sa1b.BeamRun(runner=known.runner, options=tuple(option for option in rest if option != "--"))
    else:
        refuse_more(rest, "data prepare")
        run = sa1b.LocalRun(workers=known.workers)
    try:
        with _display() as watch:
            report = sa1b.prepare(known.source, known.out, split=known.split, run=run, watch=watch)
    except KeyboardInterrupt:
        print(f"stopped; the same command goes on with what {known.out} lacks", file=sys.stderr)
        return 130
    print(f"{known.out}: {report.text()}")
    return 0


@contextlib.contextmanager
def _display() -> Iterator[Callable]:
    """Yield what shows progress on stderr: a bar on a terminal, else a line now and then."""

    def words(state) -> str:
        dropped = f", {state.drops:,} dropped" if state.drops else ""
        return (
            f"{state.units:,} of {state.units_total:,} shards, {state.photos:,} photos, {state.masks:,} masks{dropped}"
        )

    if not sys.stderr.isatty():
        last = time.monotonic()

        def line(state) -> None:
            nonlocal last
            if time.monotonic() - last >= _LINE_EVERY_S:
                last = time.monotonic()
                print(f"{state.size / max(1, state.size_total):.0%}: {words(state)}", file=sys.stderr, flush=True)

        yield line
        return
    with progress("", total=None, in_bytes=True) as bar:
        yield lambda state: bar.to(state.size, total=state.size_total, note=words(state))
