"""An image encoder that a run does not train: what may train beside it, and how it encodes.

It runs as at inference, without drop path, whose noise would train nothing. On a CPU it encodes one photo after the
other: a matrix product over a batch may round a photo otherwise beside other photos, while so an embedding is a
function of the photo and the weights alone, bit for bit.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt8

from samjax.models.sam.sam import Sam, SamConfig
from samjax.nn.adapters import AdaptersConfig, plan_adapters
from samjax.nn.structure import array_shapes
from samjax.optim.freezing import trainable_names
from samjax.parallel.sharding import constrain, platform, shards
from samjax.training.accumulation import split_batch

_ENCODER = "image_encoder/"


@functools.cache
def what_trains(model: SamConfig, trainable: tuple[str, ...], adapters: AdaptersConfig) -> str:
    """Return the first of the image encoder's parameters that a run trains, in words; empty if there is none.

    `trainable` and `adapters` are those of the run's config.

    Raises:
      UserError: a pattern matches nothing.
    """
    kernels = plan_adapters(adapters, model.make).kernels
    in_encoder = sorted(name for name in kernels if name.startswith(_ENCODER))
    if in_encoder:
        return f"adapters.rank {adapters.rank} adapts {in_encoder[0]}"
    names = trainable_names(trainable, array_shapes(model.make))
    in_encoder = sorted(name for name in names if name.startswith(_ENCODER))
    return f"trainable {' '.join(map(repr, trainable))} trains {in_encoder[0]}" if in_encoder else ""


def frozen_embedding(
    model: Sam, image: UInt8[Array, "b h w 3"], valid_size: Int[Array, "b 2"]
) -> Float[Array, "b gh gw c"]:
    """Return the embeddings of photos by an encoder that does not train; `image` and `valid_size` as `Sam.encode` has
    them.

    On CPUs each device encodes one photo at a time, on other platforms all of its photos at once.
    """
    if platform() != "cpu":
        return model.encode(image, valid_size)
    photos, ways = len(image), shards("batch")
    parts = tuple(split_batch(array, photos // ways) for array in (image, valid_size))
    # With one photo there is no loop: the barriers keep what stands before and after out of the encoder's fusions.
    barrier = jax.lax.optimization_barrier
    embedding = jax.lax.map(lambda part: barrier(model.encode(*barrier(part))), parts)
    embedding = jnp.swapaxes(embedding, 0, 1).reshape(photos, *embedding.shape[2:])
    return constrain(embedding, "batch", None, None, None)
