"""Checks before a run starts; `samjax train --dry-run` makes all of them and starts nothing."""

import socket

import jax
from etils import epath
from jax.sharding import Mesh

from samjax.checkpoint.manager import Checkpoints, state_shapes
from samjax.checkpoint.weights import load_weights
from samjax.core.errors import CorruptCheckpointError, UserError
from samjax.data.stream.loader import TrainStream
from samjax.data.stream.mixture import Mixture, open_mixture
from samjax.training.config import TrainConfig
from samjax.training.start import find_starting_weights, fresh_start
from samjax.training.state import Blueprint, make_blueprint


def open_validation(config: TrainConfig) -> Mixture | None:
    """Open the validation data before the model is made, so that errors come early; return its records.

    Raises:
      UserError: they cannot be used.
    """
    if not config.validation.source:
        return None
    data = config.validation_data()
    try:
        return open_mixture(data, config.examples(data, augment=False).schema)
    except UserError as error:
        raise UserError(f"validation.source: {error}") from None


def check(config: TrainConfig, *, mesh: Mesh, stream: TrainStream, workdir: str) -> str:
    """Read what the run would read, write to the workdir, and return this process's findings as one line.

    Checks starting weights, or the checkpoint to resume from, against the model of the run, and reads one batch of
    training data and one of validation data; `stream` is that of `config.without_caches()`. Caches are checked against
    the weights that the run would start with, and not filled.

    Raises:
      UserError: data or weights cannot be used, or the workdir cannot be written to.
    """
    blueprint = make_blueprint(config, mesh)
    start = _check_start(config, blueprint, stream=stream, workdir=workdir)
    _check_caches(config, blueprint, mesh=mesh, workdir=workdir)
    config = config.without_caches()
    batch = next(stream)
    rows = sum(shard.data.shape[0] for shard in batch.record_id.addressable_shards if shard.replica_id == 0)
    validated = _check_validation(config, mesh)
    probe = epath.Path(workdir) / f".dry-run-{jax.process_index()}"
    try:
        probe.parent.mkdir(parents=True, exist_ok=True)
        probe.write_text("samjax train --dry-run")
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"{workdir} cannot be written to on {socket.gethostname()}: {error}; give another --workdir"
        ) from None
    local = jax.local_devices()
    return (
        f"process {jax.process_index()} of {jax.process_count()} on {socket.gethostname()}: {len(local)} of "
        f"{jax.device_count()} devices ({local[0].device_kind}), mesh {dict(mesh.shape)}, {rows} of "
        f"{batch.record_id.shape[0]} photos a step from {stream.records:,} records, {validated}, {start}, "
        f"{workdir} can be written to"
    )


def _check_start(config: TrainConfig, blueprint: Blueprint, *, stream: TrainStream, workdir: str) -> str:
    """Check what the run would start from against its model and data; return it in words."""
    if _resumes(workdir):
        checkpoints = Checkpoints(epath.Path(workdir) / "checkpoints", keep=config.checkpoint.keep)
        try:
            like = state_shapes(blueprint.shapes.as_dict(), blueprint.shardings.as_dict())
            return f"resumes from step {checkpoints.check_newest(like=like, stream=stream)}"
        except CorruptCheckpointError as error:
            return f"resumes from the checkpoint before {checkpoints.latest()}, which is damaged ({error})"
        finally:
            checkpoints.close()
    if not config.init_from:
        return "starts from random weights"
    found = find_starting_weights(config, blueprint)
    return f"starts from {len(found.shapes)} arrays of {found.path}"


def _resumes(workdir: str) -> bool:
    """Return whether there is a checkpoint, damaged or not."""
    folder = epath.Path(workdir) / "checkpoints"
    return folder.exists() and any(entry.name.isdecimal() for entry in folder.iterdir())


def _check_caches(config: TrainConfig, blueprint: Blueprint, *, mesh: Mesh, workdir: str) -> None:
    """Check what the run's batches are to be read from against the weights that it would start with."""
    caches = config.caches()
    if caches is None:
        return
    with jax.set_mesh(mesh):
        if _resumes(workdir):
            state = load_weights(workdir, average=False)
        else:
            state = fresh_start(config, blueprint, jax.random.key(config.seed)).state
        caches.check(state)


def _check_validation(config: TrainConfig, mesh: Mesh) -> str:
    """Read a batch of the validation data; return in words what there is."""
    validation = config.validation
    mixture = open_validation(config)
    if mixture is None:
        return "no validation"
    for _ in config.validation_batches(mesh, limit=validation.batch_size):
        pass
    photos = min(validation.photos, len(mixture))
    return f"{photos} photos of {validation.source} to validate on"
