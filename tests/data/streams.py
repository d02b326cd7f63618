"""What tests of streams share."""

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding
from shards import record

from samjax.data.masks.mask_data import MaskExamples
from samjax.data.stream.loader import train_stream, validation_batches

SIZE = (64, 72)


def mask_stream(config, *, image_size, **rest):
    return train_stream(config, MaskExamples(config, image_size=image_size), **rest)


def mask_validation(config, *, image_size, **rest):
    return validation_batches(config, MaskExamples(config, image_size=image_size, augment=False), **rest)


def take(stream, count):
    return [jax.tree.map(np.asarray, next(stream)) for _ in range(count)]


def assert_equal(left, right):
    for one, other in zip(left, right, strict=True):
        jax.tree.map(np.testing.assert_array_equal, one, other)


def ids(batches):
    return np.concatenate([batch.record_id for batch in batches]).tolist()


def faulty(count=400, bad=()):
    """Records whose ids are their places; those in `bad` are junk, the eleventh has no mask."""
    contents = [record(number) for number in range(count)]
    for index in bad:
        contents[index] = b"not a record"
    contents[11] = record(11, [])
    return contents


def mesh_sharding(spec, **axes):
    mesh = jax.make_mesh(tuple(axes.values()), tuple(axes), axis_types=(AxisType.Auto,) * len(axes))
    return NamedSharding(mesh, spec)


class PartOfTheMesh(jax.sharding.Sharding):
    """A sharding of which this process has some devices: the slices of the batch that they hold."""

    num_devices = 4

    def __init__(self, *places):
        self.places = places

    def shard_shape(self, shape):
        return shape

    def addressable_devices_indices_map(self, shape):
        return dict(enumerate((slice(*place),) for place in self.places))
