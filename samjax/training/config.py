"""The root of a run's configuration; its class is the run's task."""

import abc
import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from typing import Annotated, Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float, Key

from samjax.checkpoint.load import model_record
from samjax.checkpoint.weights import Weights
from samjax.core.errors import UserError
from samjax.core.json_config import to_json
from samjax.core.random import Rows
from samjax.core.ranges import Count, CountOrNone, Range, Seed, config_class
from samjax.core.struct import struct
from samjax.core.tree import LayerIds
from samjax.data.stream.batch_rows import abstract_batch
from samjax.data.stream.data_config import DataConfig
from samjax.data.stream.example import NO_RECORD, ExampleMaker
from samjax.data.stream.loader import TrainStream, train_stream, validation_batches
from samjax.nn.adapters import AdaptersConfig
from samjax.optim.averaging import AverageDecay
from samjax.optim.build import OptimConfig
from samjax.parallel.mesh import MeshConfig
from samjax.parallel.sharding import batch_sharding
from samjax.training.caches import Caches
from samjax.training.validation import Better, Validator

Metrics = dict[str, Float[Array, ""]]


@struct
class StepKeys:
    """Random keys of one step: for the model (dropout, drop path) and for the task (prompts, hidden patches)."""

    model: Key[Array, ""]
    task: Key[Array, ""]
    rows: Rows | None = None
    """Where a part of a batch is computed alone, the rows of the whole batch that it holds."""


@config_class("validation")
class ValidationConfig:
    """Validation on held-out records during training, and a sheet of example pictures."""

    source: str = ""
    """Held-out records, like `data.source`; empty turns validation off."""
    split: str = "val"
    """Split of that data set, or several as `val+extra`."""
    every: Count = 1_000
    """Steps between validations; the run also validates at step 0 and at the end."""
    photos: Count = 64
    """At most this many photos, the same ones each time."""
    batch_size: Count = 8
    """Photos per batch, over all devices."""
    sheet_rows: CountOrNone = 6
    """Rows of the picture sheet; 0 draws none."""
    patience: CountOrNone = 0
    """Stop early after this many validations in a row without improvement of `checkpoint.best`; 0 never stops early."""


@config_class("checkpoint")
class CheckpointConfig:
    """When to save the run, and how many checkpoints to keep."""

    every: Count = 1_000
    """Steps between saves; the run also saves at the end and on SIGTERM."""
    keep: Annotated[int, Range(at_least=1, why="with none kept, every checkpoint would be deleted")] = 3
    """Number of newest checkpoints to keep; older ones are deleted. Give a large number to keep all."""
    best: str = ""
    """Validation metric, such as `miou@1`, by which to keep the best checkpoint in addition to the newest. The run
    saves whenever it improves, and WORKDIR/best links to that checkpoint. Empty keeps none."""


_INT32 = 2**31 - 1


@config_class("")
class TrainConfig(abc.ABC):
    """A training run of any task. Every field can be overridden on the command line: `--optim.schedule.peak-lr 1e-4`.

    A task is a subclass: it narrows the types of `model`, `data` and `validation`, and implements the methods below.
    The loop knows nothing else about the task.
    """

    model: Any
    """Architecture of the model; its class has `make(rngs=...)` and `layer_ids()`."""
    data: DataConfig
    """Records to train on."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """Optimiser and learning rate."""
    mesh: MeshConfig = field(default_factory=MeshConfig)
    """How to split the run over devices."""
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    """Validation on held-out records."""
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    """When to save the run."""
    init_from: str = ""
    """Starting weights of a new run: a run's workdir, one of its checkpoints, or what `samjax import` wrote. Arrays
    that they lack (for a MAE backbone all but the image encoder) are initialised as usual. Ignored when a run resumes
    from its own checkpoint."""
    trainable: tuple[str, ...] = ("**",)
    """Patterns over the paths of parameters, such as `mask_decoder/**`: those that match are trained, the others stay
    as they start. Frozen parameters have no moments, and the backward pass computes nothing for them."""
    adapters: AdaptersConfig = field(default_factory=AdaptersConfig)
    """Low-rank adapters, which train in place of the kernels that they adapt; off by default."""
    ema: AverageDecay = 0.0
    """Share that an exponential moving average of the trained parameters keeps of itself at each step, such as 0.999;
    validation, export and prediction use the average. 0 keeps none."""
    steps: Annotated[int, Range(at_least=1, at_most=_INT32, why="a run takes steps, counted in 32 bits")] = 90_000
    """Total parameter updates, over all starts of the run."""
    batch_size: Count = 256
    """Photos per step, over all devices."""
    accumulate: Count = 1
    """Parts of the batch that a step computes one after another, adding up their gradients: a part's memory, and the
    result of the whole batch. It divides the photos of each device."""
    seed: Seed = 0
    """Fixes the initial weights, the order of the photos and all random draws."""
    log_every: Count = 10
    """Steps between rows of metrics; the host does not wait for the device in between."""
    skip_limit: CountOrNone = 10
    """Most consecutive steps whose loss or gradient may be non-finite. Each is skipped, logged and counted; one more
    ends the run. Detected at the next row of metrics."""
    stall_timeout_s: Annotated[float, Range(at_least=0, why="it is a time, and 0 waits for ever")] = 1_800.0
    """Most seconds between two steps, including validation and saving. Beyond it the run ends and names the process
    that holds it up; 0 waits for ever."""

    def __post_init__(self):
        if not self.trainable and not self.adapters.rank:
            raise UserError("trainable is empty, so nothing would learn: give patterns, such as 'mask_decoder/**'")
        if self.validation.patience and not self.checkpoint.best:
            example = next(iter(self.validation_figures()), "a figure that validation reports")
            raise UserError(
                f"validation.patience is {self.validation.patience}, but no metric is chosen that should improve: "
                f"give checkpoint.best, such as {example}"
            )

    @abc.abstractmethod
    def objective(self, model: Any, batch: Any, *, keys: StepKeys) -> tuple[Float[Array, ""], Metrics]:
        """Return the loss of a global batch and the metrics to log, `loss` among them."""

    def weight(self, batch: Any) -> Float[Array, ""]:
        """Return how many things the loss of `batch` is a mean over, by which its parts weigh: photos, unless a task
        overrides it."""
        return jnp.sum(batch.record_id != NO_RECORD, dtype=jnp.float32)

    @abc.abstractmethod
    def examples(self, data: DataConfig, *, augment: bool) -> ExampleMaker:
        """Return what turns the records of `data` into rows of a batch; without `augment`, as validation sees them."""

    def validation_data(self) -> DataConfig:
        """Return the data config of the held-out records. A task whose validation has its own rules overrides this."""
        validation = self.validation
        return dataclasses.replace(self.data, source=validation.source, split=validation.split, mixed_in=())

    def validation_figures(self) -> Mapping[str, Better]:
        """Return the validation metrics that can choose a best checkpoint, and which way each improves."""
        return {}

    def validator(self, merge: Callable[[Any, Any], Any], mesh: Mesh) -> Validator | None:
        """Return the function that validates, or None for no validation; `merge` makes a model from parameters and
        buffers.

        The loop calls it every `validation.every` steps.
        """
        del merge, mesh
        return None

    def flops(self) -> int | None:
        """Return the minimum FLOPs to train on one photo; with None no MFU is logged."""
        return None

    @property
    def trains_everything(self) -> bool:
        """Whether every parameter is trained, so that a step takes the FLOPs of the whole model."""
        return self.trainable == ("**",) and not self.adapters.rank

    def choices(self, platform: str) -> Mapping[str, str]:
        """Return what this task decides by `platform` (cpu, gpu, tpu), as names and values for the plan and the log."""
        del platform
        return {}

    def caches(self) -> Caches | None:
        """Return what the run's batches are read from and must be computed first; None for most tasks."""
        return None

    def without_caches(self) -> "TrainConfig":
        """Return the same run with batches that are read from no `caches`."""
        return self

    def complete(self) -> "TrainConfig":
        """Return the same run with what its records say of the model, such as the names of classes; most say nothing.

        Called once the records are there.

        Raises:
          UserError: the model does not fit them.
        """
        return self

    def starting_models(self) -> tuple[type, ...]:
        """Return the config classes of the models that `init_from` may hold: its own, and those that it converts."""
        return (type(self.model),)

    def must_convert(self, model: Any) -> bool:
        """Return whether weights of a model of the config `model` must be converted: those of another class."""
        return type(model) is not type(self.model)

    def convert_weights(self, weights: Weights, model: Any) -> Weights:
        """Return `weights` of one of the `starting_models`, whose config is `model`, as this task's model takes them.

        Called where they must be converted; `notes` say what was changed.

        Raises:
          UserError: this model cannot start from them.
        """
        raise NotImplementedError(f"{type(self).__name__} lists {type(model).__name__} but does not convert it")

    def make_model(self, *, rngs: nnx.Rngs) -> nnx.Module:
        """Return a fresh model."""
        return self.model.make(rngs=rngs)

    def layer_ids(self) -> LayerIds:
        """Return the layer of each parameter, for `optim.layer_decay`."""
        return self.model.layer_ids()

    def stream(self, *, sharding: jax.sharding.Sharding | None = None) -> TrainStream:
        """Return the endless stream of training batches; `sharding` applies to their leading axis."""
        maker = self.examples(self.data, augment=True)
        return train_stream(self.data, maker, batch_size=self.batch_size, seed=self.seed, sharding=sharding)

    def abstract_batch(self, sharding: jax.sharding.Sharding) -> Any:
        """Return the shapes of a global batch."""
        return abstract_batch(self.examples(self.data, augment=True), batch_size=self.batch_size, sharding=sharding)

    def validation_batches(self, mesh: Mesh, *, limit: int | None = None) -> Iterator[Any]:
        """Yield the batches of one validation, limited to the first `limit` photos."""
        data = self.validation_data()
        return validation_batches(
            data,
            self.examples(data, augment=False),
            batch_size=self.validation.batch_size,
            sharding=batch_sharding(mesh),
            limit=self.validation.photos if limit is None else limit,
        )

    def to_json(self) -> str:
        """Return this as JSON, with the task's name and the model's class."""
        return json.dumps(
            {"task": type(self).__name__, **json.loads(to_json(self)), **model_record(self.model)}, indent=2
        )
