"""Fills a cache with the embeddings of a run's photos, by the run's own image encoder on the run's own mesh."""

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float

from samjax.checkpoint.encoder_manifest import describe_encoder
from samjax.core.distributed import is_lead, lead_decides, wait_for_all
from samjax.core.errors import UserError
from samjax.core.folder import check_room
from samjax.data.embedding_cache import EmbeddingCache
from samjax.data.masks.mask_data import MaskDataConfig
from samjax.data.photo_frames import PhotoFrames, PhotoSet, all_places, read_photos
from samjax.data.records import photos
from samjax.data.stream.batch_rows import BatchRows
from samjax.data.stream.example import Example
from samjax.data.stream.mixture import open_mixture
from samjax.models.sam.sam import SamConfig
from samjax.parallel.sharding import batch_sharding
from samjax.tasks.frozen_encoder import frozen_embedding

OPTION = "--cache-embeddings"
_TELL_EVERY_S = 60.0


def open_cache(folder: str, model: SamConfig) -> EmbeddingCache:
    """Return the cache in a folder, for embeddings of the model's shape."""
    return EmbeddingCache(folder, shape=model.embedding_shape, option=OPTION)


def check_cacheable(data: MaskDataConfig, in_encoder: str) -> None:
    """Refuse a run whose photos have not one embedding each; `in_encoder` is what `what_trains` returns.

    Raises:
      UserError: something of the encoder trains, or photos are augmented.
    """
    if in_encoder:
        raise UserError(
            f"{OPTION} needs an image encoder that does not train, but {in_encoder}: give --trainable "
            f"'mask_decoder/**' 'prompt_encoder/**' and no adapters in the encoder, or leave {OPTION} out"
        )
    plain = MaskDataConfig(source="")
    for name in ("flip_probability", "upside_down_probability", "scale_jitter", "colour_jitter"):
        if (value := getattr(data, name)) != getattr(plain, name):
            raise UserError(
                f"{OPTION} keeps one embedding of each photo, but data.{name} is {value}, which changes photos from "
                f"epoch to epoch: give {getattr(plain, name)}, or leave {OPTION} out"
            )


def photo_sets(data: MaskDataConfig, validation: MaskDataConfig | None, *, limit: int) -> list[PhotoSet]:
    """Return the photos of a run: those it trains on, and the first `limit` of those it validates on.

    Raises:
      UserError: records cannot be opened.
    """
    sets = [PhotoSet(mixture=open_mixture(data, photos.SCHEMA), decoding=data.decoding)]
    if validation is not None:
        mixture = open_mixture(validation, photos.SCHEMA)
        sets.append(PhotoSet(mixture=mixture, decoding=validation.decoding, limit=limit))
    return sets


def encoder_program(merge: Callable[[Any, Any], Any], mesh: Mesh) -> Callable[..., Float[Array, "b gh gw c"]]:
    """Return `frozen_embedding` of (parameters, buffers, photos, valid sizes), compiled when it is first called."""
    return jax.jit(
        lambda params, buffers, image, valid_size: frozen_embedding(merge(params, buffers), image, valid_size),
        out_shardings=batch_sharding(mesh),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class EmbeddingFilling:
    """The photos of a run, and the cache that is to hold their embeddings; the run's `Caches`."""

    cache: EmbeddingCache
    model: SamConfig
    sets: Sequence[PhotoSet]
    threads: int
    """Threads that read and decode."""

    def check(self, state: Any) -> None:
        """Refuse a cache that `fill` would refuse, and encode nothing.

        Raises:
          UserError: it is another encoder's, or cannot be written to.
        """
        self.cache.check_encoder(describe_encoder(self.model, state.params, state.buffers))

    def fill(
        self,
        merge: Callable[[Any, Any], Any],
        state: Any,
        mesh: Mesh,
        *,
        say: Callable[[str], None],
        is_stopping: Callable[[], bool],
    ) -> None:
        """Encode the photos that the cache lacks: one at a time on each device, written by the process that has it.

        Every process calls it, and all must see the same folder. `state` has `params` and `buffers`, of which `merge`
        makes the model. Ends early where `is_stopping`, in a run of one process; the next start goes on.

        Raises:
          UserError: the cache is another encoder's, or cannot be written to.
          MachineError: a photo cannot be read.
        """
        encoder = describe_encoder(self.model, state.params, state.buffers)
        if is_lead():
            self.cache.open_for(encoder)
        wait_for_all("the cache of embeddings is open")
        places, total = self._missing()
        name, size = self.cache.folder, len(places) * self.cache.bytes_per_photo
        if not places:
            say(f"{name} holds the embeddings of all {total:,} photos")
            return
        check_room(str(name), size, option=OPTION)
        say(
            f"{name} holds the embeddings of {total - len(places):,} of {total:,} photos; encoding the other "
            f"{len(places):,}, {size / 1e6:,.1f} MB"
        )
        start = last_line = time.monotonic()
        failures = 0
        for done, broken in self._encode(places, merge, state, mesh):
            failures = broken
            if (now := time.monotonic()) - last_line > _TELL_EVERY_S:
                say(f"encoded {done:,} of {len(places):,} photos, {(now - start) / done:.2f} s per photo")
                last_line = now
            if is_stopping() and jax.process_count() == 1:
                return
        if failures:
            say(f"{failures:,} of them cannot be decoded and have no embedding")
        wait_for_all("the cache of embeddings is filled")

    def _missing(self) -> tuple[list[tuple[int, int]], int]:
        """Return the places of photos to encode, each photo once, and how many photos there are. The lead looks."""
        places = all_places(self.sets)
        lacks, keys = np.zeros(len(places), bool), set()
        if is_lead():
            for i, photo in enumerate(self._read(places, pixels=False)):
                if photo is not None and (key := photo.arrays["key"].tobytes()) not in keys:
                    keys.add(key)
                    lacks[i] = not self.cache.holds(key)
        lacks, total = lead_decides((lacks, np.int64(len(keys))))
        return [place for place, lacking in zip(places, lacks, strict=True) if lacking], int(total)

    def _encode(
        self, places: list[tuple[int, int]], merge: Callable[[Any, Any], Any], state: Any, mesh: Mesh
    ) -> Iterator[tuple[int, int]]:
        """Encode and write these photos; yield how many are done, and how many of this process's do not decode."""
        failures = 0
        together = mesh.shape["data"] * mesh.shape["fsdp"]
        maker = PhotoFrames(frame=self.model.image_size, decoding=self.sets[0].decoding, pixels=True)
        rows = BatchRows(maker, batch_size=together, sharding=batch_sharding(mesh))
        encode = encoder_program(merge, mesh)
        starts = range(0, len(places), together)
        mine = [start + int(row) for start in starts for row in rows.rows if start + int(row) < len(places)]
        frames = self._read([places[i] for i in mine], pixels=True)
        for start in starts:
            examples = [next(frames) if start + int(row) < len(places) else None for row in rows.rows]
            failures += sum(example is None for example in examples[: len(places) - start])
            stacked = rows.stack(examples)
            keys = stacked.pop("key")
            batch = rows.place(stacked)
            embedding = encode(state.params, state.buffers, batch["image"], batch["valid_size"])
            for shard in embedding.addressable_shards:
                row = int(np.searchsorted(rows.rows, shard.index[0].start or 0))
                if shard.replica_id == 0 and examples[row] is not None:
                    self.cache.write(keys[row].tobytes(), np.asarray(shard.data)[0])
            yield min(start + together, len(places)), failures

    def _read(self, places: Sequence[tuple[int, int]], *, pixels: bool) -> Iterator[Example | None]:
        """Yield the photos at these places, None for one that cannot be decoded: the run's stream counts it."""
        elements = read_photos(self.sets, places, frame=self.model.image_size, pixels=pixels, threads=self.threads)
        for element in elements:
            yield element if isinstance(element, Example) else None
