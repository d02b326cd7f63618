"""Models whose masks are known, for the generator's tests."""

import jax
import jax.numpy as jnp
import numpy as np
from micro import drawn_micro, micro_model

from samjax.core.types import MaskOutput
from samjax.parallel.mesh import MeshConfig, make_mesh
from samjax.predict.engine import Engine
from samjax.predict.photo import fit_photo, to_frame


def micro_engine(seed: int = 0, *, devices: int = 1, confidence: float = 1.0) -> Engine:
    """Return the micro model, random: its masks are noise, its predicted IoUs around `confidence`."""
    model = drawn_micro(seed)
    head = model.mask_decoder.iou_head.layer3
    head.kernel[...] = 0.5 * head.kernel[...]
    head.bias[...] = head.bias[...] + confidence
    return Engine(model, micro_model(), mesh=make_mesh(MeshConfig(), jax.devices()[:devices]))


class DiscEngine(Engine):
    """Three discs around every point, snapped to a lattice so that neighbours give the same ones.

    Radii are 3, 7 and 20 pixels of the frame; a disc's logits fall off by `slope` a pixel. The larger the disc and the
    nearer to the lattice the point, the higher the predicted IoU. A disc over dark pixels is missed.
    """

    slope = 1.0
    radii = (3.0, 7.0, 20.0)

    def decode_points(self, embedding, coords):
        low = self.config.logits_size
        lattice = 24.0
        centre = jnp.round(coords / lattice) * lattice + 3.7
        y, x = jnp.mgrid[: low[0], : low[1]]
        places = (jnp.stack([x, y], axis=-1) + 0.5) * self.config.image_size[0] / low[0]
        distance = jnp.linalg.norm(places - centre[:, :, None, None], axis=-1)
        wobble = 0.7 * jnp.sin(places[..., 0] * 0.9) * jnp.cos(places[..., 1] * 1.3)
        radii = jnp.array(self.radii)
        logits = self.slope * (radii[:, None, None] - distance[:, :, None] + wobble)
        off = jnp.linalg.norm(coords - centre, axis=-1)
        iou = 0.6 + 0.015 * radii - 0.01 * off[..., None]
        return self.split(MaskOutput(logits=logits.astype(jnp.float32), iou=iou.astype(jnp.float32)))


def disc_engine(**fields) -> DiscEngine:
    engine = DiscEngine(drawn_micro(0), micro_model(), mesh=make_mesh(MeshConfig(), jax.devices()[:1]))
    for name, value in fields.items():
        setattr(engine, name, value)
    return engine


def as_function(engine: Engine):
    """Return the model as the restatement takes it: a crop at a time, all its points at once."""

    def model(pixels, points):
        ways = engine.ways
        image, fitted = fit_photo(pixels, engine.config.image_size)
        embedding = engine.encode(np.stack([image] * ways), np.array([fitted] * ways, np.int32))
        coords = to_frame(points, photo=pixels.shape[:2], fitted=fitted).astype(np.float32)
        output = engine.decode_points(embedding, engine.split(np.stack([coords] * ways)))
        return np.asarray(output.logits[0]), np.asarray(output.iou[0])

    return model
