"""Detectors: where they see an edge, and that masks' edges are those of a plain restatement."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.bilinear import through_frame
from helpers.made_bsds import made_photo
from helpers.micro import drawn_micro, micro_model
from scipy import ndimage

from samjax.core.prompts import MaskOutput
from samjax.eval.protocols.edges import mask_edges
from samjax.eval.protocols.edges.gradient_edges import canny, sobel
from samjax.eval.protocols.edges.levels import THRESHOLDS, as_levels, level_of
from samjax.eval.protocols.edges.mask_edges import MaskEdges, edges_config
from samjax.eval.protocols.edges.suppression import ridges, suppress_neighbours
from samjax.parallel.mesh import MeshConfig, make_mesh
from samjax.predict.engine import Engine
from samjax.predict.promptable.photo_input import fit_photo, to_frame


def step(*, dark: int = 60, bright: int = 190, height: int = 40, width: int = 50, at: int = 23) -> np.ndarray:
    """Return a photo whose columns from `at` on are brighter."""
    photo = np.full((height, width, 3), dark, np.uint8)
    photo[:, at:] = bright
    return photo


@pytest.mark.parametrize("detector", [sobel, canny])
def test_the_edge_of_a_step_lies_on_the_step(detector):
    edges = detector(step())
    assert edges.shape == (40, 50)
    assert 0 <= edges.min() <= edges.max() <= 1
    rows, columns = np.nonzero(edges)
    assert set(columns.tolist()) == {22, 23}, "the two pixels that the step is between"
    assert set(rows.tolist()) == set(range(40))
    turned = detector(step().swapaxes(0, 1).copy())
    np.testing.assert_allclose(turned, edges.T, atol=1e-6)


@pytest.mark.parametrize("detector", [sobel, canny])
def test_one_colour_has_no_edge(detector):
    assert not detector(np.full((20, 30, 3), 77, np.uint8)).any()


def test_the_gaussian_of_sobel_is_a_setting():
    assert np.count_nonzero(sobel(step(), sigma=0.0)) == np.count_nonzero(sobel(step()))
    noisy = (step() + np.random.default_rng(0).integers(0, 30, (40, 50, 1))).astype(np.uint8)
    found = [np.count_nonzero(sobel(noisy, sigma=sigma) > 0.1) for sigma in (0.0, 2.0)]
    assert found[0] > 3 * found[1], "without one noise is edges"
    assert (sobel(noisy) == sobel(noisy, sigma=2.0)).all()


def test_a_certain_edge_of_canny_reaches_the_last_threshold():
    """Else the curve ends at a recall and a precision of 0, which the average precision counts."""
    edges = canny(step(dark=0, bright=255))
    assert edges.max() == np.float32(THRESHOLDS[-1])
    assert (as_levels(edges) >= level_of(THRESHOLDS[-1])).any()
    assert set(np.unique(edges)) <= {np.float32(0), *np.array(THRESHOLDS, np.float32)}


def test_sobel_is_relative_and_canny_is_not():
    faint, strong = step(dark=100, bright=130), step(dark=20, bright=220)
    np.testing.assert_allclose(sobel(faint), sobel(strong), atol=1e-5)
    assert canny(faint).max() < canny(strong).max()


def test_canny_follows_an_edge_to_where_it_is_faint_but_no_lone_faint_one():
    """By hysteresis: a step that fades is an edge at its strong end's threshold down to a third of its strength."""
    photo = np.full((120, 60, 3), 100.0)
    contrast = np.linspace(60, 5, 120)[:, None, None]
    photo[:, 30:] += contrast
    fading = canny(photo.astype(np.uint8))[:, 28:32].max(axis=1)
    assert (fading[10:20] == fading.max()).all(), "pixels far weaker than the strongest are edges where it is"
    lone = canny(step(dark=100, bright=112))
    assert 0 < lone.max() < fading[60], "at half the way the step is of twice the contrast of a lone one or more"


@pytest.mark.parametrize("angle", [0.0, 0.4, np.pi / 4, 1.1, np.pi / 2, 2.2, 2.9])
def test_a_ridge_at_any_angle_becomes_a_line(angle):
    y, x = np.mgrid[:61, :61] - 30.0
    away = x * np.cos(angle) + y * np.sin(angle)
    edges = np.exp(-((away / 2) ** 2)).astype(np.float32)
    left = ridges(edges)
    inside = np.s_[8:-8, 8:-8]
    assert np.abs(away[inside][left[inside] > 0]).max() < 1.0
    on = np.abs(away[inside]) < 0.35
    assert (left[inside][on] == edges[inside][on]).all()


def test_edges_near_the_border_are_weakened_as_the_toolbox_does():
    edges = np.ones((21, 30), np.float32)
    whole, left = ridges(edges, border=0), ridges(edges)
    assert (whole == edges).all(), "a plateau stays"
    expected = np.ones_like(edges)
    for k, share in enumerate((0, 0.2, 0.4, 0.6, 0.8)):
        for line in (np.s_[k, :], np.s_[-1 - k, :], np.s_[:, k], np.s_[:, -1 - k]):
            expected[line] *= np.float32(share)
    np.testing.assert_allclose(left, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("height", "ramp"), [(1, [1]), (2, [0, 0]), (3, [0, 1, 0]), (6, [0, 1 / 3, 2 / 3, 2 / 3, 1 / 3, 0])]
)
def test_in_a_narrow_photo_edges_are_weakened_up_to_its_middle(height, ramp):
    left = ridges(np.ones((height, 40), np.float32))
    np.testing.assert_allclose(left[:, 20], ramp, rtol=1e-6)


def test_a_plateau_stays_and_the_weaker_of_two_goes():
    edges = np.zeros((9, 9), np.float32)
    edges[:, 3] = edges[:, 4] = 0.5
    edges[:, 6], edges[:, 7] = 0.3, 0.6
    left = suppress_neighbours(edges, np.zeros_like(edges))
    assert (left[:, [3, 4, 7]] == edges[:, [3, 4, 7]]).all()
    assert not left[:, 6].any()


class Discs(Engine):
    """Three discs around every point, their logits with waves on them; no image is looked at."""

    def encode(self, images, sizes):
        return self.split(np.zeros((len(images), 1, 1, 1), np.float32))

    def decode_points(self, embedding, coords, *, multimask=True):
        assert multimask
        coords = np.asarray(coords)
        rows, columns = self.config.logits_size
        y, x = (np.mgrid[:rows, :columns] + 0.5) * self.config.image_size[0] / rows
        away = np.hypot(x - coords[:, :, 0, None, None], y - coords[:, :, 1, None, None])
        waves = 0.6 * np.sin(0.9 * x) * np.cos(1.3 * y)
        radii = np.array([4.0, 9.0, 17.0])
        logits = (radii[:, None, None] - away[:, :, None] + waves) * 0.4
        iou = 0.5 + 0.01 * radii - 1e-3 * coords.sum(axis=-1, keepdims=True)
        output = MaskOutput(logits=jnp.asarray(logits, jnp.float32), iou=jnp.asarray(iou, jnp.float32))
        return self.split(output)


def discs(devices: int) -> Discs:
    return Discs(drawn_micro(), micro_model(), mesh=make_mesh(MeshConfig(), jax.devices()[:devices]))


@pytest.fixture(scope="module")
def engine():
    return discs(1)


def unsuppressed(boxes: list[np.ndarray], scores: np.ndarray) -> list[int]:
    kept: list[int] = []
    for one in np.argsort(-scores, kind="stable"):
        for other in kept:
            low, high = np.maximum(boxes[one][:2], boxes[other][:2]), np.minimum(boxes[one][2:], boxes[other][2:])
            shared = np.prod(np.maximum(high - low, 0))
            union = sum(np.prod(boxes[k][2:] - boxes[k][:2]) for k in (one, other)) - shared
            if union > 0 and shared / union > 0.7:
                break
        else:
            kept.append(int(one))
    return kept


def restated(engine: Engine, photo: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the map before it is thinned, from full masks one by one, and where rounding decides of a mask."""
    size = photo.shape[:2]
    image, fitted = fit_photo(photo, engine.config.image_size)
    places = (np.arange(side) + 0.5) / side
    points = np.array([[x * size[1], y * size[0]] for y in places for x in places])
    coords = to_frame(points, photo=size, fitted=fitted).astype(np.float32)
    embedding = engine.encode(image[None], np.array([fitted], np.int32))
    output = jax.device_get(engine.decode_points(embedding, engine.split(coords[None])))
    low = output.logits[0].reshape(-1, *output.logits.shape[3:])
    full = [through_frame(one, frame=engine.config.image_size, fitted=fitted, photo=size) for one in low]
    there = [k for k, one in enumerate(full) if (one > 0).any()]
    boxes = []
    for k in there:
        y, x = np.nonzero(full[k] > 0)
        boxes.append(np.array([x.min(), y.min(), x.max(), y.max()], np.float64))
    strongest, unsure = np.zeros(size), np.zeros(size, bool)
    for k in unsuppressed(boxes, output.iou[0].reshape(-1)[there]):
        logits = full[there[k]]
        probability = 1 / (1 + np.exp(-logits.astype(np.float64)))
        gradient = np.hypot(*(ndimage.sobel(probability, axis=axis, mode="nearest") for axis in (0, 1)))
        around = ndimage.binary_dilation(logits > 0, np.ones((3, 3))) & ~(logits > 0)
        strongest = np.maximum(strongest, np.where(around, gradient, 0))
        unsure |= ndimage.binary_dilation(np.abs(logits) < 2e-6 * np.abs(logits).max(), np.ones((3, 3)))
    return (strongest - strongest.min()) / np.ptp(strongest), unsure


@pytest.mark.parametrize("size", [(70, 50), (45, 80)])
def test_edges_of_masks_are_as_the_paper_says(size, engine, monkeypatch):
    photo, _ = made_photo(3, height=size[0], width=size[1])
    monkeypatch.setattr(mask_edges, "ridges", lambda edges: edges)
    (found,) = MaskEdges(engine, edges_config(points_per_side=4))([photo])
    expected, unsure = restated(engine, photo, 4)
    assert expected.shape == found.shape == size
    assert (expected > 0).mean() > 0.05, "there must be something to compare"
    assert unsure.mean() < 0.01
    np.testing.assert_allclose(found[~unsure], expected[~unsure], atol=1e-4)


def test_edges_are_ridges_from_0_to_1(engine):
    photo, _ = made_photo(3, height=70, width=50)
    (found,) = MaskEdges(engine, edges_config(points_per_side=4))([photo])
    assert found.max() == 1.0
    assert found.min() == 0.0
    assert 0 < (found > 0).mean() < 0.5


def test_the_papers_settings():
    config = edges_config()
    assert 3 * config.points_per_side**2 == 768
    assert config.box_nms_threshold == 0.7
    assert config.pred_iou_threshold == config.stability_threshold == config.crop_layers == config.min_region_area == 0


def test_photos_of_a_batch_do_not_meet(engine):
    """Two devices, two photos of two sizes: each as if it were alone."""
    both = discs(2)
    photos = [made_photo(seed, height=60, width=40 + 20 * seed)[0] for seed in (0, 1)]
    together = MaskEdges(both, edges_config(points_per_side=2))
    alone = MaskEdges(engine, edges_config(points_per_side=2))
    assert (together.batch_size, alone.batch_size) == (2, 1)
    for photo, found in zip(photos, together(photos), strict=True):
        np.testing.assert_allclose(found, alone([photo])[0], atol=1e-4)
    np.testing.assert_allclose(together(photos[:1])[0], alone(photos[:1])[0], atol=1e-4)
