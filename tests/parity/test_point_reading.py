"""Both forms of reading maps at points against PyTorch's `grid_sample`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from samjax.nn.point_reading import QUERIES_AT_ONCE, read_by_gather, read_by_tents, sample_points

GRIDS = ((5, 7), (3, 4), (1, 2))
HEADS, POINTS, CHANNELS = 2, 3, 4


def drawn(queries: int, *, whole: bool):
    """Return maps, points in pixels inside and outside them, and weights; `whole` puts points on pixels."""
    draw = np.random.default_rng(0)
    values = tuple(draw.normal(size=(2, *grid, HEADS, CHANNELS)).astype(np.float32) for grid in GRIDS)
    sides = np.array([(width, height) for height, width in GRIDS], np.float32)
    shares = draw.uniform(-0.4, 1.4, size=(2, queries, HEADS, len(GRIDS), POINTS, 2)).astype(np.float32)
    points = shares * sides[:, None] - 0.5
    weights = draw.uniform(size=points.shape[:-1]).astype(np.float32)
    return values, np.round(points) if whole else points, weights


def by_torch(values, points, weights):
    """Return the weighted sum as the public implementations compute it."""
    found = 0
    for level, maps in enumerate(values):
        batch, height, width = maps.shape[:3]
        planes = maps.permute(0, 3, 4, 1, 2).flatten(0, 1)
        sides = torch.tensor([width, height])
        grid = (2 * (points[:, :, :, level] + 0.5) / sides - 1).transpose(1, 2).flatten(0, 1)
        read = torch.nn.functional.grid_sample(planes, grid, align_corners=False, padding_mode="zeros")
        read = read.reshape(batch, HEADS, CHANNELS, *read.shape[2:])
        found = found + torch.einsum("becqn,bqen->bqec", read, weights[:, :, :, level])
    return found


@pytest.mark.parametrize("form", [read_by_gather, read_by_tents])
@pytest.mark.parametrize("queries", [6, QUERIES_AT_ONCE + 3])
def test_both_forms_and_their_gradients_are_grid_samples(form, queries):
    given = drawn(queries, whole=False)
    ours = [jax.tree.map(jnp.asarray, one) for one in given]
    slope = np.random.default_rng(1).normal(size=(2, queries, HEADS, CHANNELS)).astype(np.float32)
    found, pull = jax.vjp(jax.jit(form), *ours)
    theirs = [tuple(torch.tensor(one, requires_grad=True) for one in given[0])]
    theirs += [torch.tensor(one, requires_grad=True) for one in given[1:]]
    expected = by_torch(*theirs)
    expected.backward(torch.as_tensor(slope))
    np.testing.assert_allclose(found, expected.detach(), atol=2e-6)
    for our, their in zip(jax.tree.leaves(pull(jnp.asarray(slope))), [*theirs[0], *theirs[1:]], strict=True):
        np.testing.assert_allclose(our, their.grad, atol=2e-5)


def test_points_on_pixels_have_the_same_slope_in_both_forms():
    """At the start all points are there."""
    values, points, weights = jax.tree.map(jnp.asarray, drawn(6, whole=True))
    slopes = [
        jax.grad(lambda points, form=form: (form(values, points, weights) ** 2).sum())(points)
        for form in (read_by_gather, read_by_tents)
    ]
    assert np.abs(slopes[0]).max() > 0.1
    np.testing.assert_allclose(slopes[0], slopes[1], atol=2e-6)


def test_a_map_at_its_border_is_half_of_its_last_pixel():
    found = sample_points(jnp.ones((1, 4, 6, 2)), jnp.array([[[0.0, 0.5], [0.5, 0.5], [1.0, 1.0], [1.2, 0.5]]]))
    np.testing.assert_allclose(found[0, :, 0], [0.5, 1.0, 0.25, 0.0], atol=1e-6)
