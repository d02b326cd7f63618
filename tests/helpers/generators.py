"""Models whose masks are known, or random, for the generator's tests."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from helpers.micro import drawn_micro, micro_model
from samjax.core.prompts import MaskOutput
from samjax.parallel.mesh import MeshConfig, make_mesh
from samjax.predict.engine import Engine
from samjax.predict.promptable.photo_input import fit_photo, to_frame


def micro_engine(seed: int = 0, *, devices: int = 1, steepness: float = 1.0) -> Engine:
    """Return the micro model, random: its masks are noise, its predicted IoUs around 1.

    Its logits are within 0.3 of 0, times `steepness`.
    """
    model = drawn_micro(seed)
    last = model.mask_decoder.hypernetworks.layer3
    last.kernel[...] = steepness * last.kernel[...]
    last.bias[...] = steepness * last.bias[...]
    head = model.mask_decoder.iou_head.layer3
    head.kernel[...] = 0.5 * head.kernel[...]
    head.bias[...] = head.bias[...] + 1
    return Engine(model, micro_model(), mesh=_mesh(devices))


def _mesh(devices: int) -> jax.sharding.Mesh:
    return make_mesh(MeshConfig(), jax.devices()[:devices])


class DiscEngine(Engine):
    """Three discs around every point, snapped to a lattice so that neighbours give the same ones.

    Radii are pixels of the frame; a disc's logits fall off by one a pixel, with waves of `ripple` on them, which leave
    holes and islands where they are high. The larger the disc and the nearer to the lattice the point, the higher the
    predicted IoU.
    """

    radii: tuple[float, float, float]
    ripple: float

    def decode_points(self, embedding, coords, *, multimask=True):
        assert multimask
        return self.split(self._discs(jnp.asarray(coords)))

    @functools.partial(jax.jit, static_argnums=0)
    def _discs(self, coords):
        low = self.config.logits_size
        lattice = 24.0
        centre = jnp.round(coords / lattice) * lattice + 3.7
        y, x = jnp.mgrid[: low[0], : low[1]]
        places = (jnp.stack([x, y], axis=-1) + 0.5) * self.config.image_size[0] / low[0]
        distance = jnp.linalg.norm(places - centre[:, :, None, None], axis=-1)
        waves = self.ripple * jnp.sin(places[..., 0] * 0.9) * jnp.cos(places[..., 1] * 1.3)
        radii = jnp.array(self.radii)
        logits = radii[:, None, None] - distance[:, :, None] + waves
        off = jnp.linalg.norm(coords - centre, axis=-1)
        iou = 0.6 + 0.015 * radii - 0.01 * off[..., None]
        return MaskOutput(logits=logits.astype(jnp.float32), iou=iou.astype(jnp.float32))


def disc_engine(*, radii: tuple[float, float, float] = (3.0, 7.0, 20.0), ripple: float = 0.7) -> DiscEngine:
    engine = DiscEngine(drawn_micro(), micro_model(), mesh=_mesh(1))
    engine.radii, engine.ripple = radii, ripple
    return engine


class GivenEngine(Engine):
    """Answers every point with the same three `logits` and `iou`."""

    logits: np.ndarray
    iou: tuple[float, float, float]

    def decode_points(self, embedding, coords, *, multimask=True):
        assert multimask
        images, points, _ = coords.shape
        logits = np.broadcast_to(self.logits, (images, points, *self.logits.shape)).astype(np.float32)
        iou = np.broadcast_to(np.array(self.iou, np.float32), (images, points, 3))
        return jax.tree.map(jnp.asarray, self.split(MaskOutput(logits=jnp.asarray(logits), iou=jnp.asarray(iou))))


def given_engine(logits: np.ndarray, *, iou: tuple[float, float, float] = (0.9, 0.95, 1.0)) -> GivenEngine:
    engine = GivenEngine(drawn_micro(), micro_model(), mesh=_mesh(1))
    engine.logits, engine.iou = logits, iou
    return engine


def as_function(engine: Engine, *, multimask: bool = True):
    """Return the model as the restatement takes it: a crop at a time, all its points at once."""

    def model(pixels, points):
        ways = engine.ways
        image, fitted = fit_photo(pixels, engine.config.image_size)
        embedding = engine.encode(np.stack([image] * ways), np.array([fitted] * ways, np.int32))
        coords = to_frame(points, photo=pixels.shape[:2], fitted=fitted).astype(np.float32)
        output = engine.decode_points(embedding, engine.split(np.stack([coords] * ways)), multimask=multimask)
        return np.asarray(output.logits[0]), np.asarray(output.iou[0])

    return model
