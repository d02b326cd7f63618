"""The state of a run: planned as shapes and shardings before any array exists."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Key

from samjax.checkpoint.weights import SavedShapes, Weights
from samjax.core.errors import UserError
from samjax.core.random import Stream, derive
from samjax.core.struct import struct
from samjax.core.tree import map_with_names, named_leaves, select
from samjax.nn.init import Buffer
from samjax.nn.structure import abstract_model
from samjax.optim.build import make_optimizer
from samjax.optim.freezing import trainable_names
from samjax.optim.rates import check_rates
from samjax.parallel.sharding import logical_axes, replicated, tree_shardings
from samjax.train.config import TrainConfig


@struct
class TrainState:
    """Parameters and buffers (nested dictionaries of arrays), optimiser state, and the number of updates so far.

    Fields are untyped: the same structure holds arrays, shapes or shardings.
    """

    params: Any
    buffers: Any
    opt_state: Any
    step: Any


@dataclass(frozen=True, kw_only=True)
class Blueprint:
    """A run's state as shapes and shardings, with the model's structure and the optimiser."""

    graph: nnx.GraphDef[Any]
    optimizer: optax.GradientTransformation
    trainable: frozenset[str]
    """Names of the parameters that are trained."""
    shapes: TrainState
    shardings: TrainState

    def model(self, params: Any, buffers: Any) -> Any:
        """Return the model with these weights."""
        return nnx.merge(self.graph, params, buffers)

    def trainable_part(self, params: Any) -> Any:
        """Return the parameters that are trained, or what else has their structure."""
        return select(params, self.trainable)


def make_blueprint(config: TrainConfig, mesh: Mesh) -> Blueprint:
    """Plan the state of a run: shapes first, then shardings. Moments are split like their parameters.

    Raises:
      UserError: a pattern over parameters matches none.
    """
    graph, params, buffers = abstract_model(config.make_model)
    optimizer = make_optimizer(config.optim, config.layer_ids(), steps=config.steps)

    param_shapes, buffer_shapes = nnx.to_pure_dict(params), nnx.to_pure_dict(buffers)
    trainable = trainable_names(config.trainable, named_leaves(param_shapes))
    check_rates(config.optim.rates, trainable)
    opt_shapes = jax.eval_shape(optimizer.init, select(param_shapes, trainable))
    param_shardings = tree_shardings(logical_axes(params), param_shapes, mesh)
    whole = replicated(mesh)
    return Blueprint(
        graph=graph,
        optimizer=optimizer,
        trainable=trainable,
        shapes=TrainState(
            params=param_shapes,
            buffers=buffer_shapes,
            opt_state=opt_shapes,
            step=jax.ShapeDtypeStruct((), jnp.int32),
        ),
        shardings=TrainState(
            params=param_shardings,
            buffers=tree_shardings(logical_axes(buffers), buffer_shapes, mesh),
            opt_state=optax.tree_utils.tree_map_params(
                optimizer,
                lambda _, sharding: sharding,
                opt_shapes,
                select(param_shardings, trainable),
                transform_non_params=lambda _: whole,
            ),
            step=whole,
        ),
    )


def init_state(blueprint: Blueprint, config: TrainConfig, run: Key[Array, ""]) -> TrainState:
    """Return the state at step 0, each array created on the devices that hold it."""

    def init(key: Key[Array, ""]) -> TrainState:
        model = config.make_model(rngs=nnx.Rngs(derive(key, Stream.INIT)))
        _, params, buffers = nnx.split(model, nnx.Param, Buffer)
        params, buffers = nnx.to_pure_dict(params), nnx.to_pure_dict(buffers)
        opt_state = blueprint.optimizer.init(blueprint.trainable_part(params))
        return TrainState(params=params, buffers=buffers, opt_state=opt_state, step=jnp.zeros((), jnp.int32))

    return jax.jit(init, out_shardings=blueprint.shardings)(run)


def check_weights(found: SavedShapes | Weights, config: TrainConfig, planned: TrainState) -> None:
    """Refuse weights that a run cannot start from, before anything is made or read; `planned` has shapes.

    Raises:
      UserError: an array is not one of the model's, or has another shape; if only the frame differs, the message says
        how to resize.
    """
    expected = named_leaves({"params": planned.params, "buffers": planned.buffers})
    shapes = {name: tuple(leaf.shape) for name, leaf in expected.items()}
    wrong = [name for name, shape in found.shapes.items() if shapes.get(name) != shape]
    if not wrong:
        return
    frame = found.config.get("model", {}).get("image_size")
    wanted = getattr(config.model, "image_size", None)
    if frame is not None and wanted is not None and tuple(frame) != wanted:
        height, width = wanted
        way = (
            f": they are for frames of {frame[0]} x {frame[1]} pixels, the run's are {height} x {width}. "
            f"`samjax import WEIGHTS --out CKPT --image-size {height} {width}` resizes weights of other codebases; or "
            f"give --model.image-size {frame[0]} {frame[1]}"
        )
    else:
        way = "; give weights of this model, or the experiment and overrides that they were made with"
    raise UserError(
        f"init_from: {found.path} is of another model than this experiment's: {len(wrong)} of its {len(found.shapes)} "
        f"arrays do not fit, first {wrong[0]}, {found.shapes[wrong[0]]}, "
        f"expected {shapes.get(wrong[0], 'no such array')}{way}"
    )


def begin_with(state: TrainState, weights: Weights, shardings: TrainState) -> tuple[TrainState, str]:
    """Return `state` with the parameters and buffers in `weights`, and a sentence that names what stays fresh.

    Call `check_weights` first.
    """
    taken = named_leaves({"params": weights.params, "buffers": weights.buffers})
    model = {"params": state.params, "buffers": state.buffers}
    shapes = {name: leaf.shape for name, leaf in named_leaves(model).items()}

    def put(name: str, leaf: Array, sharding: jax.sharding.Sharding) -> Array:
        if name not in taken:
            return leaf
        return jax.make_array_from_callback(leaf.shape, sharding, lambda index: taken[name][index].astype(leaf.dtype))

    begun = map_with_names(put, model, {"params": shardings.params, "buffers": shardings.buffers})
    fresh = [name.split("/", 1)[1] for name in shapes if name not in taken]
    said = "; ".join([f"{len(taken)} of {len(shapes)} arrays begin as in {weights.path}", *weights.notes])
    if fresh:
        rooms = sorted({"/".join(name.split("/")[:2]) for name in fresh})
        said += f"; fresh are {', '.join(rooms[:6])}{' and others' if rooms[6:] else ''}"
    return dataclasses.replace(state, **begun), said
