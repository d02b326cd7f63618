"""A checkpoint as the annotator serves it: pinned, described, with its embeddings and what encodes them."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etils import epath
from jax.sharding import Mesh

from samjax.annotate.embedding_store import EmbeddingStore, EmbeddingStoreConfig, default_folder
from samjax.annotate.encoder_process import EncoderProcess
from samjax.annotate.photo_encoding import PhotoSource
from samjax.annotate.prompted_masks import PromptedMasks, PromptedMasksConfig
from samjax.checkpoint.weights import find_checkpoint
from samjax.predict.engine import Engine


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """A model and the store of its embeddings."""

    name: str
    """The checkpoint as the user gave it."""
    checkpoint: str
    """Its own folder: a run that goes on training changes its newest checkpoint, and not this one."""
    average: bool
    """Whether the weights are the moving average, where the run kept one."""
    digest: str
    """64 hexadecimal digits that stand for its weights."""
    engine: Engine
    store: EmbeddingStore

    def describe(self) -> dict[str, Any]:
        """Return what `GET /api/session` says of the model."""
        config = self.engine.config
        frame, logits = list(config.image_size), list(config.logits_size)
        return {"name": self.name, "digest": self.digest, "frame": frame, "logits": logits}

    def prompted_masks(
        self,
        photos: PhotoSource,
        *,
        config: PromptedMasksConfig = PromptedMasksConfig(),  # noqa: B008  frozen
    ) -> PromptedMasks:
        """Return the model as annotators meet it; close it at the end.

        On a CPU photos are encoded in a process beside it, on an accelerator between clicks.
        """
        worker = None
        if self.engine.mesh.devices.flat[0].platform == "cpu":
            make_engine = functools.partial(Engine.from_checkpoint, self.checkpoint, average=self.average)
            worker = EncoderProcess(make_engine, store=self.store)
            worker.start()
        return PromptedMasks(self.engine, photos=photos, store=self.store, worker=worker, config=config)


def load_served_model(
    checkpoint: epath.PathLike,
    *,
    cache: str | Path | None = None,
    embeddings: EmbeddingStoreConfig = EmbeddingStoreConfig(),  # noqa: B008  frozen
    mesh: Mesh | None = None,
    average: bool = True,
) -> ServedModel:
    """Return the model in a checkpoint: a run's workdir (its newest), one of its checkpoints, or imported weights.

    Args:
      cache: the folder of embeddings; by default `default_folder()`.
      mesh: devices; one is enough for clicks, and `encode_all` splits photos over all.
      average: take the moving average of parameters where the run kept one; False takes the last step's.

    Raises:
      UserError: there is no checkpoint, or not of a complete Segment Anything model, or the cache cannot be used.
    """
    folder = str(find_checkpoint(checkpoint))
    engine = Engine.from_checkpoint(folder, mesh=mesh, average=average)
    shape = engine.config.embedding_shape
    store = EmbeddingStore(cache or default_folder(), encoder=engine.describe_encoder(), shape=shape, config=embeddings)
    return ServedModel(
        name=str(checkpoint), checkpoint=folder, average=average, digest=engine.digest(), engine=engine, store=store
    )
