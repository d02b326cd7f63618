"""A click of the annotator beside the decoder alone, ViT-B at 1024, float32, random weights, a photo of 2250 x 1500.

    python benchmarks/annotator_clicks.py                  # prints the table of docs/benchmarks.md
    python benchmarks/annotator_clicks.py --size small     # to try it

A click goes through the queue to `PromptedMasks` and comes back as the bytes that the page gets: three candidates or
one, their stability, logits for the screen. Beside it runs `Predictor.predict_logits` for the same prompts, the two
sides alternately; their logits must be equal. Every second click refines the one before. The second row is measured
while the encoder's process works at other photos; its embeddings must be the server's bit for bit.
"""

import argparse
import asyncio
import functools
import io
import statistics
import tempfile
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 1500, 2250


class Photos:
    """Smooth random photos, all of one size, by number."""

    def __getitem__(self, photo_id: int) -> Any:
        return SimpleNamespace(height=HEIGHT, width=WIDTH)

    def jpeg(self, photo_id: int) -> bytes:
        coarse = np.random.default_rng(photo_id).integers(0, 256, (15, 22, 3), dtype=np.uint8)
        encoded = io.BytesIO()
        Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(encoded, "JPEG")
        return encoded.getvalue()


def draw_weights(size: str):
    """Return config, parameters and buffers of a model with random weights, the same in every process."""
    import jax.numpy as jnp
    from flax import nnx

    from samjax.core.tree import map_with_names
    from samjax.models.sam.sam import SamConfig
    from samjax.nn.structure import abstract_model

    config = {"small": SamConfig.small, "vit_b": SamConfig.vit_b}[size](dtype="float32")
    generator = np.random.default_rng(0)

    def draw(path: str, leaf):
        noise = generator.standard_normal(size=leaf.shape, dtype=np.float32)
        scaled = 1 + 0.05 * noise if path.endswith("scale") else 0.03 * noise
        return jnp.asarray(noise if path.endswith("gaussian") else scaled, leaf.dtype)

    params, buffers = (map_with_names(draw, nnx.to_pure_dict(part)) for part in abstract_model(config.make)[1:])
    return config, params, buffers


def make_engine(size: str):
    """Return an engine with the weights of `draw_weights`."""
    from samjax.nn.structure import model_with
    from samjax.predict.engine import Engine

    config, params, buffers = draw_weights(size)
    return Engine(model_with(config.make, params=params, buffers=buffers), config)


async def clicks(masks, predictor, *, count: int) -> tuple[list[float], list[float]]:
    """Return milliseconds of each click through `masks`, and of the same prompts' logits by `predictor`."""
    from samjax.annotate.prompt_request import PromptRequest

    through, alone, handle, logits = [], [], None, None
    for number in range(count):
        first = (50.0 + 17 * number % 2000, 700.0)
        points, labels = ((first, (300.0, 400.0)), (1, 0)) if handle else ((first,), (1,))
        request = PromptRequest(annotator="ann", points=points, labels=labels, previous=handle)
        start = time.perf_counter()
        answer = await masks.predict(0, request)
        answer.pack()
        middle = time.perf_counter()
        expected = predictor.predict_logits(
            points=[points], labels=[labels], mask_logits=logits, multimask=request.is_ambiguous
        )
        through.append(1000 * (middle - start))
        alone.append(1000 * (time.perf_counter() - middle))
        best = int(expected.iou[0].argmax())
        assert answer.candidates[0].iou == expected.iou[0, best]
        handle = None if handle else answer.candidates[0].handle
        logits = expected.logits[:, best] if handle else None
    return through, alone


async def saving(masks, *, count: int) -> list[float]:
    """Return milliseconds of each exact mask of one of three candidates."""
    from samjax.annotate.prompt_request import PromptRequest

    answer = await masks.predict(0, PromptRequest(annotator="ann", points=((500.0, 700.0),), labels=(1,)))
    found = []
    for _ in range(count):
        start = time.perf_counter()
        await masks.exact_mask(answer.candidates[0].handle, photo_id=0)
        found.append(1000 * (time.perf_counter() - start))
    return found


async def measure(size: str, *, count: int, folder: str) -> None:
    from samjax.annotate.embedding_store import EmbeddingStore
    from samjax.annotate.encoder_process import EncoderProcess
    from samjax.annotate.photo_encoding import encode_jpeg
    from samjax.annotate.prompted_masks import PromptedMasks
    from samjax.predict.promptable.predictor import Predictor

    engine, photos = make_engine(size), Photos()
    shape = (*engine.config.grid, engine.config.embedding)
    store = EmbeddingStore(folder, encoder=engine.describe_encoder(), shape=shape)
    worker = EncoderProcess(functools.partial(make_engine, size), store=store)
    masks = PromptedMasks(engine, photos=photos, store=store, worker=worker)
    try:
        await masks.warm_up([(HEIGHT, WIDTH)])
        embedding = encode_jpeg(engine, photos.jpeg(0))
        predictor = Predictor(engine)
        predictor.set_embedding(embedding, photo=(HEIGHT, WIDTH))
        await saving(masks, count=1)  # has the photo encoded by the process
        stored = store.read(store.key(photos.jpeg(0)))
        assert stored is not None
        assert np.array_equal(stored, embedding)
        await clicks(masks, predictor, count=4)
        print("| | decoder alone | click | 95% of clicks |\n| --- | --- | --- | --- |")
        row("nothing beside", await clicks(masks, predictor, count=count))
        masks.set_next("ann", range(1, 1000))
        row("photos encoded beside", await clicks(masks, predictor, count=count))
        print(f"\nexact mask: {statistics.median(await saving(masks, count=10)):.0f} ms")
    finally:
        masks.close()


def row(name: str, times: tuple[list[float], list[float]]) -> None:
    through, alone = times
    most = sorted(through)[int(0.95 * len(through))]
    print(f"| {name} | {statistics.median(alone):.1f} ms | {statistics.median(through):.1f} ms | {most:.1f} ms |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=("small", "vit_b"), default="vit_b")
    parser.add_argument("--clicks", type=int, default=200)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(arguments.size, count=arguments.clicks, folder=folder))


if __name__ == "__main__":
    main()
