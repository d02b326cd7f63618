"""`samjax annotate retrain`: a round of the data engine, from what people made to the model they go on with."""

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from samjax.cli.arguments import real_number
from samjax.cli.evaluation import add_clicks
from samjax.core.errors import UserError
from samjax.core.folder import check_can_write
from samjax.core.ranges import Range

_DESCRIPTION = """\
Train a model on the masks in DIR, which samjax annotate or samjax generate wrote, and say what it gained. The photos
and their masks as they are now are copied to WORKDIR/frozen, so that the round can be repeated while people go on in
DIR; a few photos are held out by a hash of their ids, the same ones in every round. Training starts from --checkpoint
with large-scale jitter. Then both models are clicked through the photos held out. Run the same command again to resume.
Further options are the experiment's, as of samjax train."""

_JITTER = (0.1, 2.0)


def add_parser(verbs) -> None:
    """Add the verb `retrain`."""
    parser = verbs.add_parser(
        "retrain", help="train on the folder's masks from the last checkpoint", description=_DESCRIPTION
    )
    parser.add_argument("folder", metavar="DIR", help="the --out of samjax annotate or samjax generate")
    parser.add_argument("--experiment", required=True, metavar="FILE", help="such as experiments/sam/vit_b.py")
    parser.add_argument("--checkpoint", required=True, metavar="C", help="weights to start from: the last round's")
    parser.add_argument("--workdir", required=True, metavar="DIR", help="folder of this round")
    parser.add_argument(
        "--holdout",
        type=real_number("--holdout", Range(above=0, below=1, why="it is the share of photos to compare models on")),
        default=0.05,
        metavar="SHARE",
        help="share of photos that are not trained on (default: 0.05)",
    )
    parser.add_argument(
        "--mix",
        nargs=2,
        action="append",
        default=[],
        metavar=("SOURCE", "WEIGHT"),
        help="other data to mix in, WEIGHT photos per photo of DIR: 0.1 makes people's masks ten times as frequent",
    )
    add_clicks(parser)
    parser.set_defaults(run=_run)


def _run(known: argparse.Namespace, rest: list[str]) -> int:
    from samjax.api.frozen_masks import freeze_masks
    from samjax.api.training_run import train
    from samjax.checkpoint.weights import find_checkpoint

    before, workdir = str(find_checkpoint(known.checkpoint)), Path(known.workdir)
    check_can_write(workdir, option="--workdir")
    config = _config(known, rest, workdir / "records", before)
    frozen = freeze_masks(known.folder, workdir / "frozen", share=known.holdout)
    print(f"{frozen.path}: {len(frozen.train):,} photos to train on, {len(frozen.val):,} held out", flush=True)
    for split in ("train", "val"):
        words = ["data", "prepare", "--source", str(frozen.folder(split)), "--split", split]
        _command([*words, "--out", str(workdir / "records" / split)])
    run = train(config, workdir=workdir / "run")
    if not run.is_over:
        print(f"stopped at step {run.step:,}; run the same command again to resume", flush=True)
        return 0
    best = workdir / "run" / "best"
    after = str(best if best.exists() else workdir / "run")
    rows = {name: _score(known, path, workdir, name) for name, path in (("before", before), ("after", after))}
    print(f"\nmean IoU on {len(frozen.val):,} photos held out, after so many clicks:")
    for name, metrics in rows.items():
        print(f"  {name:6} " + "".join(f"  {key.removeprefix('miou')} {value:.3f}" for key, value in metrics.items()))
    serve = ["samjax", "annotate", "--checkpoint", after, "--images", "PHOTOS", "--out", known.folder]
    print(f"\n{shlex.join(serve)}", flush=True)
    return 0


def _config(known: argparse.Namespace, rest: Sequence[str], records: Path, checkpoint: str):
    """Return the experiment's config with the round's data and start, and the user's overrides.

    Raises:
      UserError: there is no such experiment, it does not train on prompts, or an override does not fit.
    """
    from samjax.cli.train import override
    from samjax.core.experiment import load_experiment
    from samjax.core.overrides import replace_fields
    from samjax.data.stream.data_config import MixedSourceConfig
    from samjax.tasks.promptable import PromptableTraining

    mixed = tuple(MixedSourceConfig(source=source, weight=_weight(weight)) for source, weight in known.mix)
    round_of = {
        "data.source": str(records / "train"),
        "data.mixed_in": mixed,
        "data.scale_jitter": _JITTER,
        "validation.source": str(records / "val"),
        "init_from": checkpoint,
    }
    config = load_experiment(known.experiment, PromptableTraining)
    return override(replace_fields(config, round_of), list(rest), command="annotate retrain")


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(f"--mix: {text!r} is no weight: give SOURCE and a number") from None


def _score(known: argparse.Namespace, checkpoint: str, workdir: Path, name: str) -> dict[str, float]:
    """Click a model through the photos held out, and return mean IoU by number of clicks."""
    from samjax.eval.results import Results

    out = workdir / name
    if not (out / "results.json").exists():
        clicks = ["--clicks", *map(str, known.clicks)]
        data = ["--data", f"held_out={workdir / 'records' / 'val'}"]
        resume = ["--resume"] if out.exists() else []
        _command(["evaluate", "point-to-mask", "--checkpoint", checkpoint, *data, *clicks, "--out", str(out), *resume])
    metrics = Results.read(out).rows[0].metrics
    return {key: value for key, value in metrics.items() if key.startswith("miou") and value is not None}


def _command(words: list[str]) -> None:
    """Print a command of ours and run it.

    Raises:
      UserError: it fails; it has said why.
    """
    from samjax.cli.main import main

    print(f"$ samjax {shlex.join(words)}", flush=True)
    if main(words):
        raise UserError(f"samjax {words[0]} {words[1]} failed, see above; run the same command again to resume")
