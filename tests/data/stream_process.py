"""One process of a job: prints the record ids of global batches, as all processes see them, and the rows it made.

python stream_process.py SOURCE PORT PROCESSES INDEX FIRST_STEP BATCHES
"""

import json
import sys

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, NamedSharding, PartitionSpec

BATCH = 8


def main(source, port, processes, index, first, batches):
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"127.0.0.1:{port}", processes, index)
    from streams import mask_stream

    from samjax.data.masks.mask_data import MaskDataConfig

    mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))
    stream = mask_stream(
        MaskDataConfig(source=source, max_masks=1, threads=1, prefetch_photos=4),
        image_size=(64, 72),
        batch_size=BATCH,
        seed=3,
        sharding=NamedSharding(mesh, PartitionSpec("data")),
    )
    stream.set_step(first)
    gathered, own = [], []
    for step in range(batches):
        batch = next(stream)
        assert len(batch.image.addressable_shards) == 1
        for shard in batch.record_id.addressable_shards:
            own += [step * BATCH + row for row in range(*shard.index[0].indices(BATCH))]
        gathered += np.asarray(multihost_utils.process_allgather(batch.record_id, tiled=True)).tolist()
    stream.close()
    print(json.dumps({"gathered": gathered, "own": own}))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
