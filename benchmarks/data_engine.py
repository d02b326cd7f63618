"""A rehearsal of the data engine: its three stages, each with a retraining, and a simulated annotator for people.

    python benchmarks/data_engine.py --out runs/rehearsal                  # prints the table of docs/data_engine.md
    python benchmarks/data_engine.py --out runs/trial --size micro         # minutes: a model that learns nothing

Photos are the 95 shipped with the demo (`--synthetic` draws others), with their masks as the truth. A small model is
trained on ten of them, or is that of `--checkpoint`. Then

- stage 1: `samjax annotate` serves twenty others without their masks, and a simulated annotator makes masks of them
  through the server's routes (benchmarks/simulated_annotator.py); `samjax annotate retrain`;
- stage 2: `samjax generate --tune` chooses thresholds by these masks, `samjax propose` proposes masks of twenty more,
  and the annotator rejects wrong ones and adds missing ones; `samjax annotate retrain`;
- stage 3: `samjax generate` finds the masks of these and of 21 new photos alone, they are compared with the truth,
  `samjax data pack` packs them, and `samjax train` trains on them, unless `--minutes` would pass.

Each model is clicked through 24 photos that are in no stage (`samjax evaluate point-to-mask`). Objects under
`--least-area` of a photo are neither annotated nor evaluated. The shipped masks are COCO's, which leave objects out: a
good mask of one of these counts as wrong.

OUT/figures.json, OUT/rehearsal.png and OUT/logs are the results. Started again, a stage that is done is not done again,
and its commands resume; seconds of a stage are those since its last start.
"""

import argparse
import dataclasses
import json
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rehearsal_commands import run, serving
from rehearsal_masks import compare, least_holdout, read_masks, write_coco
from rehearsal_photos import Photos, divide, file_of
from rehearsal_report import CLICKS, draw, summarise, summarise_generated, table
from simulated_annotator import Annotator, Habits

from samjax.core.errors import UserError
from samjax.core.files import write_whole
from samjax.core.folder import check_request, read_request
from samjax.eval.results import Results

EXPERIMENT = Path(__file__).parent.parent / "experiments" / "sam" / "smoke.py"
SYNTHETIC = "synthetic:size=256x384,masks=12"


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much of everything."""

    start: int
    stages: tuple[int, int, int]
    held_out: int
    steps: int
    points: int
    """Of the generator's grid, per side."""
    clicks: int
    """Of the annotator, per object at most."""
    model: tuple[str, ...] = ()
    """Changes of the experiment."""


SIZES = {
    "full": Size(start=10, stages=(20, 20, 21), held_out=24, steps=600, points=16, clicks=8),
    "micro": Size(
        start=3, stages=(3, 3, 3), held_out=2, steps=4, points=4, clicks=3,
        model=("--model.image-size", "64", "64", "--model.embedding", "32", "--model.image-encoder.width", "32",
               "--model.image-encoder.depth", "2", "--model.image-encoder.heads", "2",
               "--model.mask-decoder.hidden", "32", "--loss.loss-size", "32"),
    ),
}  # fmt: skip


class Rehearsal:
    """The stages, in a folder."""

    def __init__(self, known: argparse.Namespace, size: Size, photos: Photos, habits: Habits):
        self.known, self.size, self.photos, self.habits = known, size, photos, habits
        self.out: Path = known.out.absolute()
        self.results: dict[str, Any] = {}

    def run(self) -> None:
        """Do what is not done."""
        for stage in (self.start, self.stage_1, self.stage_2, self.stage_3):
            self._do(stage)
        self._command("stats", "annotate", "stats", self.out / "annotated", "--out", self.out / "stats")

    def start(self) -> dict[str, Any]:
        """Train the first model, if none is given."""
        for part in ("start", "held_out"):
            self._command("prepare", "data", "prepare", "--source", self.out / part, "--out", self._records(part))
        model = self.known.checkpoint
        if model is not None and Path(model).exists():
            model = Path(model).absolute()  # else it is the name of published weights
        if model is None:
            model = self.out / "first"
            data = ["--data.source", self._records("start")]
            self._command("first", "train", *self._experiment(*data), "--workdir", model)
        return self._scored("start", model)

    def stage_1(self) -> dict[str, Any]:
        """Have masks made from nothing."""
        work = self._annotate(1, "manual", model=self._model("start"))
        del work["proposals"]  # this mode shows none
        return {"work": work, **self._retrain(1, model=self._model("start"))}

    def stage_2(self) -> dict[str, Any]:
        """Propose masks, and have them sorted out and completed."""
        model = self._model("stage_1")
        given = ["--checkpoint", model, "--images", self._images(2), "--out", self.out / "annotated"]
        self._command("propose", "propose", *given, "--settings", self._tune(1, model=model))
        return {"work": self._annotate(2, "prefill", model=model), **self._retrain(2, model=model)}

    def stage_3(self) -> dict[str, Any]:
        """Generate masks of all photos, and train on them."""
        begin, model, generated = time.monotonic(), self._model("stage_2"), self.out / "generated"
        given = ["--checkpoint", model, "--images", self._images("*"), "--out", generated]
        self._command("generate", "generate", *given, "--settings", self._tune(2, model=model))
        self._command("pack", "data", "pack", generated, "--out", self.out / "tars")
        found = {"work": self._compare(generated, 1, 2, 3), "new": self._compare(generated, 3)}
        before = sum(one["seconds"] for one in self.results.values()) + time.monotonic() - begin
        if not found["work"]["masks"]:
            return {**found, "skipped": "no mask was generated: there is nothing to train on"}
        if before + self.results["stage_2"]["training_seconds"] > 60 * self.known.minutes:
            way_out = f"remove {self.out / 'stage_3.json'} and give more to train"
            return {**found, "skipped": f"the last training would pass --minutes {self.known.minutes:g}: {way_out}"}
        data = ["--data.source", self.out / "tars", "--init-from", model, *self._later()]
        self._command("final", "train", *self._experiment(*data), "--workdir", self.out / "final")
        return {**found, **self._scored("stage_3", self.out / "final")}

    def _do(self, stage: Callable[[], dict[str, Any]]) -> None:
        """Do a stage, unless its file says that it is done."""
        name = stage.__name__
        file = self.out / f"{name}.json"
        if file.exists():
            print(f"{file} is there: this stage is done")
        else:
            print(f"\n{name.replace('_', ' ')}", flush=True)
            begin = time.monotonic()
            found = stage()
            write_whole(file, json.dumps({**found, "seconds": time.monotonic() - begin}, indent=1) + "\n")
        self.results[name] = json.loads(file.read_text())

    def _command(self, name: str, *words: Any) -> None:
        run(self._log(name), *words)

    def _log(self, name: str) -> Path:
        (self.out / "logs").mkdir(exist_ok=True)
        return self.out / "logs" / f"{name}.log"

    def _model(self, stage: str) -> str:
        return self.results[stage]["model"]

    def _records(self, part: str) -> Path:
        return self.out / "records" / part

    def _images(self, stage: int | str) -> Path:
        return self.out / "photos" / f"stage_{stage}" / "*.jpg"

    def _experiment(self, *given: Any) -> list[Any]:
        """Return the experiment with its changes, as `samjax train` takes it; its models are evaluated afterwards."""
        changes = ["--steps", self.size.steps, "--validation.source", "", *self.size.model]
        return [self.known.experiment.absolute(), *given, *changes]

    def _later(self) -> list[Any]:
        """Return the changes of trainings that do not begin at random: of a frame of 128 pixels the paper's jitter of
        0.1 would leave 13."""
        return ["--data.scale-jitter", 0.5, 1.5, "--optim.schedule.peak-lr", 5e-4]

    def _retrain(self, number: int, *, model: str) -> dict[str, Any]:
        """Train on what is annotated, with the photos of the start mixed in, and return the new model's figures."""
        begin, workdir, annotated = time.monotonic(), self.out / f"round_{number}", self.out / "annotated"
        experiment, *changes = self._experiment(*self._later())
        share = least_holdout([record for record, _ in read_masks(annotated, self.photos.stages[0])])
        words = ["--experiment", experiment, "--checkpoint", model, "--workdir", workdir, "--holdout", share]
        words += ["--mix", self._records("start"), 0.5, "--clicks", *CLICKS]
        self._command(f"round_{number}", "annotate", "retrain", annotated, *words, *changes)
        seconds, best = time.monotonic() - begin, workdir / "run" / "best"
        score = self._scored(f"stage_{number}", best if best.exists() else workdir / "run")
        return {**score, "training_seconds": seconds}

    def _tune(self, number: int, *, model: str) -> Path:
        """Choose the generator's thresholds by the masks of the first stages, and return the file of settings."""
        settings = self.out / f"tuned_{number}" / "generator.json"
        if not settings.exists():
            masks = read_masks(self.out / "annotated", [one for those in self.photos.stages[:number] for one in those])
            write_coco(self.out / f"annotated_{number}.json", masks, photos=self.out / "photos")
            given = ["--images", self.out / "photos", "--tune", self.out / f"annotated_{number}.json"]
            grid = ["--tune-metric", "f1", "--points-per-side", self.size.points, "--crop-layers", 0]
            words = ["--checkpoint", model, *given, *grid, "--out", settings.parent]
            self._command(f"tuned_{number}", "generate", *words)
        return settings

    def _annotate(self, number: int, mode: str, *, model: str) -> dict[str, Any]:
        """Have the simulated annotator work on a stage's photos, and return the figures."""
        works = self.out / f"work_{number}"
        works.mkdir(exist_ok=True)
        words = ["--checkpoint", model, "--images", self._images(number), "--out", self.out / "annotated"]
        words += ["--mode", mode, "--cache", self.out / "embeddings"]
        with serving(self._log(f"served_{number}"), *words, annotator="simulated") as page:
            for work in Annotator(page, self.photos.truth, self.habits).work():
                write_whole(works / f"{Path(work.photo).stem}.json", json.dumps(work.to_json()) + "\n")
        found = summarise([json.loads(file.read_text()) for file in sorted(works.glob("*.json"))])
        lost = len(self.photos.stages[number - 1]) - found["photos"]
        return {**found, "photos_without_figures": lost}

    def _compare(self, folder: Path, *stages: int) -> dict[str, Any]:
        records = [record for number in stages for record in self.photos.stages[number - 1]]
        return summarise_generated(**compare(folder, [(one, self.photos.truth(file_of(one))) for one in records],
                                             right=self.habits.right))  # fmt: skip

    def _scored(self, name: str, model: str | Path) -> dict[str, Any]:
        """Click a model through the photos held out."""
        out = self.out / "held_out_scores" / name
        resume = ["--resume"] if out.exists() else []
        data = ["--data", f"held_out={self._records('held_out')}", "--clicks", *CLICKS]
        self._command("scores", "evaluate", "point-to-mask", "--checkpoint", model, *data, "--out", out, *resume)
        row = Results.read(out).rows[0]
        score = {name: value for name, value in row.metrics.items() if name.startswith(("miou", "oracle"))}
        return {"model": str(model), "score": score, "photos_held_out": row.photos, "masks_held_out": row.masks}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for everything")
    parser.add_argument("--size", choices=tuple(SIZES), default="full", help="micro: to try the script")
    parser.add_argument("--synthetic", nargs="?", const=SYNTHETIC, help=f"draw photos, by default those of {SYNTHETIC}")
    parser.add_argument("--experiment", type=Path, default=EXPERIMENT, help="of all trainings")
    parser.add_argument("--checkpoint", help="start from this model of the experiment, instead of training one")
    parser.add_argument("--steps", type=int, help="of each training (default: 600)")
    parser.add_argument("--least-area", type=float, default=0.01, help="share of the photo")
    parser.add_argument("--enough", type=float, default=0.85, help="IoU at which a mask is committed")
    parser.add_argument("--right", type=float, default=0.75, help="IoU from which on a mask shows an object")
    parser.add_argument("--no-brush", action="store_true", help="commit the best mask of the clicks, good or not")
    parser.add_argument("--minutes", type=float, default=30.0, help="do not begin the last training beyond these")
    known = parser.parse_args()
    size = SIZES[known.size] if known.steps is None else dataclasses.replace(SIZES[known.size], steps=known.steps)
    habits = Habits(enough=known.enough, right=known.right, clicks=size.clicks, brush=not known.no_brush)
    parts = {"start": size.start, "stages": size.stages, "held_out": size.held_out}
    try:
        photos = divide(known.synthetic, **parts, least_area=known.least_area)
        settings = {**dataclasses.asdict(size), **dataclasses.asdict(habits), "least_area": known.least_area}
        settings |= {name: getattr(known, name) for name in ("synthetic", "checkpoint")}
        settings = json.loads(json.dumps({**settings, "experiment": str(known.experiment)}))
        about = known.out / "rehearsal.json"
        if about.exists():
            check_request(read_request(about, fields={"settings": dict})["settings"], settings,
                          sentence=f"--out {known.out} was begun")  # fmt: skip
        known.out.mkdir(parents=True, exist_ok=True)
        counts = photos.write(known.out)
        write_whole(about, json.dumps({"settings": settings, "photos": counts}, indent=1) + "\n")
    except UserError as error:
        raise SystemExit(str(error)) from None
    print("; ".join(f"{name}: {count:,}" for name, count in counts.items()))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server is stopped, too
    rehearsal = Rehearsal(known, size, photos, habits)
    rehearsal.run()
    figures = {"settings": settings, "photos": counts, **rehearsal.results}
    write_whole(known.out / "figures.json", json.dumps(figures, indent=1) + "\n")
    draw(known.out / "rehearsal.png", rehearsal.results)
    print(f"\n{table(rehearsal.results)}")
    if reason := rehearsal.results["stage_3"].get("skipped"):
        print(f"\nskipped: {reason}")
    print(f"\n{known.out / 'figures.json'}, {known.out / 'rehearsal.png'}")


if __name__ == "__main__":
    main()
