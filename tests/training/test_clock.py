"""Laws of the run's clock, by a clock that is set by hand."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from samjax.core.batches import Batch
from samjax.models.sam.flops import photo_flops
from samjax.models.sam.sam import SamConfig
from samjax.parallel.chips import chip_of
from samjax.training.clock import Part, Past, RunClock
from samjax.training.metrics import PendingMetrics, peak_images_per_s


class Hand:
    """A clock that stands still until it is moved."""

    def __init__(self):
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds

    def spend(self, clock: RunClock, part: Part, seconds: float) -> None:
        with clock.on(part):
            self.seconds += seconds


@pytest.fixture
def hand():
    return Hand()


def _start(hand, *, past=None, seconds=50.0):
    clock = RunClock(now=hand) if past is None else RunClock(now=hand, past=past)
    hand.seconds += seconds
    clock.start_steps()
    return clock


def test_the_parts_of_a_lap_add_up_to_its_time(hand):
    clock = _start(hand)
    hand.spend(clock, Part.DATA, 1.0)
    hand.seconds += 6.0
    hand.spend(clock, Part.SAVE, 2.0)
    hand.spend(clock, Part.EVAL, 3.0)
    row = clock.lap(steps=2)
    assert row == pytest.approx(
        {"data_wait_s": 0.5, "step_s": 3.0, "save_s": 1.0, "eval_s": 1.5, "elapsed_s": 62.0, "goodput": 6 / 62}
    )
    hand.seconds += 4.0
    row = clock.lap(steps=4)
    assert row == pytest.approx(
        {"data_wait_s": 0, "step_s": 1.0, "save_s": 0, "eval_s": 0, "elapsed_s": 66.0, "goodput": 10 / 66}
    )


def test_time_within_a_part_counts_when_it_fails(hand):
    clock = _start(hand)

    def fail():
        with clock.on(Part.DATA):
            hand.seconds += 7.0
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert clock.lap(steps=1)["data_wait_s"] == 7.0


def test_steps_that_are_done_again_cost_goodput(hand):
    """A run of 40 s for 8 steps, killed after step 8; saved at 4, it goes on from there."""
    clock = _start(hand, seconds=8.0)
    rows = []
    for step in (4, 8):
        hand.seconds += 16.0
        rows.append({"step": step, **clock.lap(steps=4)})
    assert rows[-1]["goodput"] == pytest.approx(32 / 40)

    again = _start(hand, past=Past.of_rows(rows, resume_step=4), seconds=4.0)
    hand.seconds += 16.0
    row = again.lap(steps=4)
    assert row["elapsed_s"] == pytest.approx(60.0)
    assert row["goodput"] == pytest.approx(32 / 60)

    nothing_saved = Past.of_rows(rows, resume_step=0)
    assert nothing_saved == Past(elapsed_s=40.0, productive_s=0.0)
    assert Past.of_rows([], resume_step=0) == Past()
    assert Past.of_rows([{"step": 0, "split": "val", "miou@1": 0.1}], resume_step=0) == Past()


def test_the_summary_names_every_part(hand):
    clock = _start(hand, seconds=10.0)
    hand.spend(clock, Part.DATA, 5.0)
    hand.seconds += 60.0
    hand.spend(clock, Part.SAVE, 15.0)
    hand.spend(clock, Part.EVAL, 10.0)
    said = clock.summary()
    assert said == (
        "100 s: start 10.0%, data wait 5.0%, steps 60.0%, saves 15.0%, eval 10.0%; goodput of the run 60.0%"
    )


def _batch() -> Batch:
    zeros = jnp.zeros
    return Batch(
        image=zeros((2, 16, 16, 3), jnp.uint8),
        valid_size=zeros((2, 2), jnp.int32),
        masks=zeros((2, 1, 16, 2), jnp.uint8),
        mask_valid=zeros((2, 1), bool),
        record_id=zeros((2,), jnp.int32),
    )


def test_speed_leaves_out_validation_and_saves(hand):
    clock = _start(hand)
    pending = PendingMetrics(batch_size=2, clock=clock, peak=8.0)
    for step in (1, 2, 3):
        hand.spend(clock, Part.DATA, 0.5)
        hand.seconds += 1.0
        pending.add(step, {"loss": jnp.float32(step), "grad_norm": jnp.float32(1)}, _batch())
    hand.spend(clock, Part.SAVE, 100.0)
    row = pending.flush()
    assert row is not None
    assert (row["step"], row["loss"]) == (3, 3.0)
    assert row["images_per_s"] == pytest.approx(6 / 4.5)
    assert row["mfu"] == pytest.approx(6 / 4.5 / 8)
    assert pending.flush() is None


@dataclasses.dataclass(frozen=True)
class FakeDevice:
    device_kind: str
    id: int


def _mesh(kind: str) -> Mesh:
    """A mesh of four devices that are not there."""
    devices = np.empty(4, object)
    devices[:] = [FakeDevice(device_kind=kind, id=index) for index in range(4)]
    return Mesh(devices.reshape(1, 4, 1), ("data", "fsdp", "tensor"))


def test_an_mfu_of_one_is_the_peak_over_the_least_flops(micro_run):
    """ViT-H with 64 masks and 11 rounds needs 23.1 TFLOP a photo: four v5p of 459 TFLOP/s do 79 photos/s at most."""
    config = dataclasses.replace(
        micro_run,
        model=SamConfig.vit_h(),
        data=dataclasses.replace(micro_run.data, max_masks=64),
        prompting=dataclasses.replace(micro_run.prompting, corrections=8),
    )
    peak = peak_images_per_s(config, _mesh("TPU v5p"))
    assert peak == pytest.approx(4 * 459e12 / 23.1e12, rel=0.01)
    chip = chip_of("TPU v5p")
    assert chip is not None
    assert peak == 4 * chip.flops / photo_flops(config.model, masks=64, rounds=11).training


def test_devices_without_published_peaks_have_no_mfu(micro_run):
    assert peak_images_per_s(micro_run, Mesh(np.array(jax.devices()[:1]), ("data",))) is None
