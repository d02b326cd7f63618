"""`samjax train --dry-run`: what every process of a run can see, before anything is compiled."""

import socket

import jax
from etils import epath
from jax.sharding import Mesh

from samjax.core.errors import UserError
from samjax.data.loader import TrainStream


def check(*, mesh: Mesh, stream: TrainStream, workdir: str) -> str:
    """Read a batch and write to the workdir, and return what this process has, as a line.

    Raises:
      UserError: the data cannot be used, or the workdir cannot be written to.
    """
    batch = next(stream)
    rows = sum(shard.data.shape[0] for shard in batch.record_id.addressable_shards if shard.replica_id == 0)
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
        f"{batch.record_id.shape[0]} photos a step from {stream.records:,} records, {workdir} can be written to"
    )
