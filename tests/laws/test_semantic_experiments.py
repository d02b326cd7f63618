"""The experiments of semantic segmentation and of depth carry their papers' numbers, written here a second time."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from flax import nnx
from helpers.dpt_cases import small

from samjax.core.experiment import load_experiment
from samjax.core.tree import first_match, named_leaves
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.nn.pixels import PixelStatistics
from samjax.nn.structure import abstract_model
from samjax.optim.build import Optimizer
from samjax.optim.rates import parse_rates
from samjax.tasks.depth import DepthTraining
from samjax.tasks.semantic import SemanticTraining

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


class Published(NamedTuple):
    """What a paper or its code says of a run."""

    steps: int
    batch: int
    crop: tuple[int, int]
    classes: int
    rate: float
    end: float
    power: float
    warmup: int
    decay: float
    head: float
    """What the head's rate is multiplied by."""


ADAM_B5 = {"rate": 6e-5, "end": 0.0, "power": 1.0, "warmup": 1_500, "decay": 0.01, "head": 10.0}
SETR = {"end": 1e-4, "power": 0.9, "warmup": 0, "decay": 0.0, "head": 10.0}
SEGMENTER = {"end": 1e-5, "power": 0.9, "warmup": 0, "decay": 0.0, "head": 1.0}
DPT = {"end": 0.0, "power": 0.9, "warmup": 0, "decay": 0.0, "head": 1.0}
HRFORMER = {"rate": 1e-4, "end": 0.0, "power": 0.9, "warmup": 1_500, "decay": 0.01, "head": 1.0}
RUNS = {
    "segformer/ade20k": Published(160_000, 16, (640, 640), 150, **ADAM_B5),
    "segformer/cityscapes": Published(160_000, 8, (1024, 1024), 19, **ADAM_B5),
    "setr/ade20k": Published(160_000, 16, (512, 512), 150, rate=1e-3, **SETR),
    "setr/cityscapes": Published(80_000, 8, (768, 768), 19, rate=1e-2, **SETR),
    "setr/pascal_context": Published(80_000, 16, (480, 480), 59, rate=1e-3, **SETR),
    "segmenter/ade20k": Published(64 * (20_210 // 8), 8, (640, 640), 150, rate=1e-3, **SEGMENTER),
    "segmenter/cityscapes": Published(216 * (2_975 // 8), 8, (768, 768), 19, rate=1e-2, **SEGMENTER),
    "segmenter/pascal_context": Published(256 * (4_996 // 16), 16, (480, 480), 59, rate=1e-3, **SEGMENTER),
    "dpt/ade20k": Published(240 * (20_210 // 48), 48, (480, 480), 150, rate=2e-3, **DPT),
    "pvt/ade20k": Published(40_000, 32, (512, 512), 150, 2e-4, 0.0, 0.9, 0, 1e-4, 1.0),
    "hrformer/ade20k": Published(150_000, 8, (520, 520), 150, **HRFORMER),
    "hrformer/cityscapes": Published(80_000, 8, (512, 1024), 19, **HRFORMER),
    "hrformer/pascal_context": Published(60_000, 16, (520, 520), 59, **HRFORMER),
    "hrformer/coco_stuff": Published(60_000, 16, (520, 520), 171, **HRFORMER),
}
OF_DEPTH = {"dpt/mix"}


def test_every_run_is_here():
    folders = {name.split("/")[0] for name in RUNS}
    there = {f"{path.parent.name}/{path.stem}" for folder in folders for path in (EXPERIMENTS / folder).glob("*.py")}
    assert {name for name in there if not name.endswith("__init__")} == set(RUNS) | OF_DEPTH


@pytest.mark.parametrize("name", RUNS)
def test_a_run_is_the_papers(name):
    run, paper = load_experiment(EXPERIMENTS / f"{name}.py", SemanticTraining), RUNS[name]
    assert (run.steps, run.batch_size) == (paper.steps, paper.batch)
    assert (run.model.image_size, run.model.classes) == (paper.crop, paper.classes)
    assert (run.optim.weight_decay, run.optim.layer_decay, run.optim.clip_norm) == (paper.decay, 1.0, 0.0)
    assert run.optim.rates == (() if paper.head == 1 else ("head/**=10",))
    descends = name.startswith(("setr", "segmenter", "dpt"))
    assert run.optim.optimizer is (Optimizer.SGD if descends else Optimizer.ADAMW)
    half = name.startswith(("segmenter", "dpt"))
    assert run.model.pixel_statistics is (PixelStatistics.HALF if half else PixelStatistics.IMAGENET)
    rate = run.optim.schedule.learning_rate(run.steps)
    for step in (paper.warmup, paper.steps // 2, paper.steps * 3 // 4):
        expected = (paper.rate - paper.end) * (1 - step / paper.steps) ** paper.power + paper.end
        assert float(rate(step)) == pytest.approx(expected, rel=1e-3), step
    assert run.data.scale_jitter == (0.5, 2.0)
    assert run.data.flip_probability == 0.5


def test_hrformer_weighs_classes_of_cityscapes_and_counts_hard_pixels():
    city, other = (
        load_experiment(EXPERIMENTS / f"hrformer/{one}.py", SemanticTraining) for one in ("cityscapes", "ade20k")
    )
    for run in (city, other):
        assert (run.loss.hard_threshold, run.loss.least_hard, run.loss.auxiliary_weight) == (0.9, 100_000, 0.4)
        assert run.data.aspect_jitter == (0.9, 1.1)
    assert len(city.loss.class_weights) == 19
    assert not other.loss.class_weights


def test_dpt_weighs_its_auxiliary_head_by_a_fifth():
    run = load_experiment(EXPERIMENTS / "dpt/ade20k.py", SemanticTraining)
    assert run.loss.auxiliary_weight == 0.2
    assert run.model == DenseConfig.dpt_hybrid_segmentation()


def test_depth_is_trained_as_dpt_was():
    """60 epochs of 72,000 steps of 16 photos; the ViT at 1e-5, all that does not come with it at ten times that."""
    run = load_experiment(EXPERIMENTS / "dpt/mix.py", DepthTraining)
    assert (run.steps, run.batch_size) == (60 * 72_000, 16)
    assert run.model == DenseConfig.dpt_large_depth()
    assert (run.data.fit, run.data.scale_jitter, run.data.flip_probability) == ((384, 384), (1.0, 1.0), 0.5)
    assert run.data.photometric.probability == 0
    assert (run.loss.trim, run.loss.edge_weight, run.loss.scales) == (0.2, 0.5, 4)
    optim = run.optim
    assert (optim.optimizer, optim.weight_decay, optim.layer_decay, optim.clip_norm) == (Optimizer.ADAMW, 0.0, 1.0, 0.0)
    rates = parse_rates(optim.rates)
    _, params, _ = abstract_model(small("large_depth").make)
    names = named_leaves(nnx.to_pure_dict(params))
    factors = {name: first_match(name, (*rates, ("*", 1.0))) for name in names}
    assert {name for name, factor in factors.items() if factor == 1} == {
        name for name in factors if name.startswith("encoder/vit/")
    }
    rate = optim.schedule.learning_rate(run.steps)
    assert {float(rate(step)) for step in (0, 1_000, run.steps - 1)} == {float(np.float32(1e-5))}
