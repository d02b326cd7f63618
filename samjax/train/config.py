"""The root of a run's configuration."""

from dataclasses import dataclass, field

from samjax.core.errors import UserError
from samjax.data.loader import DataConfig
from samjax.losses.sam import LossConfig
from samjax.models.sam.config import SamConfig
from samjax.optim.build import OptimConfig
from samjax.parallel.mesh import MeshConfig
from samjax.prompting.interactive import InteractionConfig


@dataclass(frozen=True, kw_only=True)
class ValidationConfig:
    """Clicks on held-out photos during training, and the picture sheet of some of them."""

    source: str = ""
    """Held-out photos, like `data.source`; empty turns validation off."""
    split: str = "val"
    every: int = 1_000
    """Steps between validations; also at step 0 and at the end."""
    photos: int = 64
    """At most this many, the same each time."""
    max_masks: int = 16
    """At most this many masks a photo, the same each time."""
    min_area_fraction: float = 0.0
    """Masks that cover less than this share of the photo are left out."""
    batch_size: int = 8
    clicks: tuple[int, ...] = (1, 2, 3, 5, 8)
    """mIoU is reported after each of these many clicks."""
    sheet_rows: int = 6
    """Objects drawn in the picture sheet; 0 draws none."""


@dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """When the run is saved, and how many saves are kept."""

    every: int = 1_000
    """Steps between saves; also at the end and on SIGTERM."""
    keep: int = 3


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A pretraining run. Every field can be overridden on the command line, e.g. `--optim.schedule.peak-lr 1e-4`."""

    model: SamConfig = field(default_factory=SamConfig)
    data: DataConfig
    prompting: InteractionConfig = field(default_factory=InteractionConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    mesh: MeshConfig = field(default_factory=MeshConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    init_from: str = ""
    """Weights that a new run begins with: a run's workdir, one of its checkpoints, or what `samjax import` wrote. What
    is not there, of a MAE backbone all but the image encoder, begins as without it. A run that goes on from its own
    checkpoint does not look at it."""
    steps: int = 90_000
    batch_size: int = 256
    """Photos a step, over all devices."""
    seed: int = 0
    log_every: int = 10
    """Steps between rows of metrics; nothing waits for the device in between."""
    skip_limit: int = 10
    """Steps in a row that may have a loss or gradient that is not finite. Each is skipped, named and counted; one more
    ends the run. Found at the next row of metrics."""
    stall_timeout_s: float = 1_800.0
    """Longer than this between two steps, with validation and saves, ends the run, and the process that holds it up is
    named; 0 waits for ever."""

    def __post_init__(self):
        for name, value in [("skip_limit", self.skip_limit), ("stall_timeout_s", self.stall_timeout_s)]:
            if not value >= 0:
                raise UserError(f"{name} is {value}; it must be at least 0")
        for name, value in [
            ("steps", self.steps),
            ("batch_size", self.batch_size),
            ("log_every", self.log_every),
            ("checkpoint.every", self.checkpoint.every),
            ("validation.every", self.validation.every),
        ]:
            if value < 1:
                raise UserError(f"{name} is {value}; it must be at least 1")
