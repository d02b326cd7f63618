"""The root of a run's configuration."""

from dataclasses import field
from typing import Annotated

from samjax.core.errors import UserError
from samjax.core.ranges import Count, CountOrNone, Range, Seed, config_class
from samjax.data.stream.loader import DataConfig
from samjax.losses.sam_loss import LossConfig
from samjax.models.sam.config import SamConfig
from samjax.optim.build import OptimConfig
from samjax.parallel.mesh import MeshConfig
from samjax.prompting.interactive import InteractionConfig


@config_class("validation")
class ValidationConfig:
    """Clicks on held-out photos during training, and the picture sheet of some of them."""

    source: str = ""
    """Held-out photos, like `data.source`; empty turns validation off."""
    split: str = "val"
    """Split of that data set, or several as `val+extra`."""
    every: Count = 1_000
    """Steps between validations; also at step 0 and at the end."""
    photos: Count = 64
    """At most this many, the same each time."""
    max_masks: Count = 16
    """At most this many masks of a photo, the same each time."""
    min_area_fraction: Annotated[
        float, Range(at_least=0, below=0.9, why="it is a share of the photo, and masks over 0.9 are never used")
    ] = 0.0
    """Masks that cover less than this share of the photo are left out."""
    batch_size: Count = 8
    """Photos of a batch, over all devices."""
    clicks: tuple[Count, ...] = (1, 2, 3, 5, 8)
    """mIoU is reported after each of these many clicks, ascending."""
    sheet_rows: CountOrNone = 6
    """Objects drawn in the picture sheet; 0 draws none."""
    patience: CountOrNone = 0
    """End the run when so many validations in a row are no better by `checkpoint.best`; 0 goes on to the last step."""

    def __post_init__(self):
        if not self.clicks or list(self.clicks) != sorted(set(self.clicks)):
            raise UserError(f"validation.clicks are {self.clicks}; give ascending numbers, such as 1 2 3 5 8")


@config_class("checkpoint")
class CheckpointConfig:
    """When the run is saved, and how many saves are kept."""

    every: Count = 1_000
    """Steps between saves; also at the end and on SIGTERM."""
    keep: Annotated[int, Range(at_least=1, why="with none kept, every checkpoint would be deleted")] = 3
    """Newest checkpoints to keep; older ones are deleted. There is no number for all: give a large one."""
    best: str = ""
    """Also keep the checkpoint whose validation has the highest of this figure, as `miou@1`, whatever `keep` says, and
    save at each validation that is better; WORKDIR/best leads to it. Empty keeps none."""


_INT32 = 2**31 - 1


@config_class("")
class TrainConfig:
    """A pretraining run. Every field can be overridden on the command line, e.g. `--optim.schedule.peak-lr 1e-4`."""

    model: SamConfig = field(default_factory=SamConfig)
    """Sizes of the model."""
    data: DataConfig
    """Photos to train on."""
    prompting: InteractionConfig = field(default_factory=InteractionConfig)
    """The simulated annotator."""
    loss: LossConfig = field(default_factory=LossConfig)
    """Weights of the loss."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """Optimiser and learning rate."""
    mesh: MeshConfig = field(default_factory=MeshConfig)
    """How the run is split over devices."""
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    """Validation on held-out photos."""
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    """When the run is saved."""
    init_from: str = ""
    """Weights that a new run begins with: a run's workdir, one of its checkpoints, or what `samjax import` wrote. What
    is not there, of a MAE backbone all but the image encoder, begins as without it. A run that goes on from its own
    checkpoint does not look at it."""
    steps: Annotated[int, Range(at_least=1, at_most=_INT32, why="a run takes steps, counted in 32 bits")] = 90_000
    """Updates of the parameters in all, over every start of the run."""
    batch_size: Count = 256
    """Photos of a step, over all devices."""
    seed: Seed = 0
    """Fixes the initial weights, the order of the photos and everything that is drawn."""
    log_every: Count = 10
    """Steps between rows of metrics; nothing waits for the device in between."""
    skip_limit: CountOrNone = 10
    """Steps in a row that may have a loss or gradient that is not finite. Each is skipped, named and counted; one more
    ends the run. Found at the next row of metrics."""
    stall_timeout_s: Annotated[float, Range(at_least=0, why="it is a time, and 0 waits for ever")] = 1_800.0
    """Longer than this between two steps, with validation and saves, ends the run, and the process that holds it up is
    named; 0 waits for ever."""

    def __post_init__(self):
        if self.validation.patience and not self.checkpoint.best:
            raise UserError(
                f"validation.patience is {self.validation.patience}, but nothing says which figure should rise: "
                f"give checkpoint.best, such as miou@{self.validation.clicks[0]}"
            )
