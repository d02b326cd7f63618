"""The state of a run: planned as shapes and shardings before any array exists."""

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass, field
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
from samjax.core.tree import map_with_names, named_leaves, overlay, select
from samjax.nn.adapters import AdapterPlan, init_adapters, merge_adapters, plan_adapters
from samjax.nn.dense import dense_kernels
from samjax.nn.init import Buffer
from samjax.nn.rngs import initial_rngs
from samjax.nn.structure import abstract_model
from samjax.optim.build import make_optimizer
from samjax.optim.freezing import trainable_names
from samjax.optim.muon import muon_matrices
from samjax.optim.rates import check_rates
from samjax.parallel.sharding import logical_axes, replicated, tree_shardings
from samjax.training.config import TrainConfig


@struct
class TrainState:
    """Parameters and buffers (nested dictionaries of arrays), optimiser state, and the number of updates so far.

    Fields are untyped: the same structure holds arrays, shapes or shardings.
    """

    params: Any
    buffers: Any
    opt_state: Any
    step: Any
    adapters: Any = field(default_factory=dict)
    """Low-rank adapters by the path of their kernel, see `nn.adapters`; empty without them."""
    average: Any = field(default_factory=dict)
    """The moving average of `Blueprint.trainable_part`; empty without one."""

    def as_dict(self) -> dict[str, Any]:
        """Return it as the dictionary that checkpoints hold, without what is empty."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in fields.items() if name not in ("adapters", "average") or value}


@dataclass(frozen=True, kw_only=True)
class Blueprint:
    """A run's state as shapes and shardings, with the model's structure and the optimiser."""

    graph: nnx.GraphDef[Any]
    optimizer: optax.GradientTransformation
    trainable: frozenset[str]
    """Names of the parameters that are trained; adapters are not among them."""
    adapters: AdapterPlan
    adapter_scale: float
    shapes: TrainState
    shardings: TrainState

    def model(self, params: Any, buffers: Any) -> Any:
        """Return the model with these weights."""
        return nnx.merge(self.graph, params, buffers)

    def trainable_part(self, state: TrainState) -> Any:
        """Return what an update changes: trainable parameters, and adapters at the paths of their kernels."""
        return overlay(select(state.params, self.trainable), state.adapters)

    def with_part(self, state: TrainState, part: Any) -> TrainState:
        """Return `state` with another trainable part."""
        params = overlay(state.params, select(part, self.trainable))
        return dataclasses.replace(state, params=params, adapters=select(part, named_leaves(self.shapes.adapters)))

    def weights(self, params: Any, part: Any) -> Any:
        """Return all of the model's parameters, with a trainable part in place and adapters added to their kernels."""
        return merge_adapters(params, part, scale=self.adapter_scale)

    def for_validation(self, state: TrainState) -> TrainState:
        """Return `state` with the parameters to validate: the average if there is one, adapters merged."""
        if not state.average and not state.adapters:
            return state
        if not state.adapters:
            return dataclasses.replace(state, params=overlay(state.params, state.average))
        part = state.average or self.trainable_part(state)
        return dataclasses.replace(state, params=self._merge(state.params, part))

    @functools.cached_property
    def _merge(self) -> Callable[[Any, Any], Any]:
        return jax.jit(self.weights, out_shardings=self.shardings.params)


def make_blueprint(config: TrainConfig, mesh: Mesh) -> Blueprint:
    """Plan the state of a run: shapes first, then shardings. Moments and averages are split like their parameters.

    Raises:
      UserError: a pattern over parameters matches none.
    """
    graph, params, buffers = abstract_model(config.make_model)
    param_shapes, buffer_shapes = nnx.to_pure_dict(params), nnx.to_pure_dict(buffers)
    adapters = plan_adapters(config.adapters, config.make_model)
    trainable = trainable_names(config.trainable, named_leaves(param_shapes)) - adapters.kernels
    part_shapes = overlay(select(param_shapes, trainable), adapters.shapes)
    check_rates(config.optim.rates, named_leaves(part_shapes))
    kernels = dense_kernels(nnx.merge(graph, params, buffers))
    matrices = muon_matrices(config.optim.muon, named_leaves(part_shapes), kernels)
    optimizer = make_optimizer(config.optim, config.layer_ids(), steps=config.steps, matrices=matrices)
    opt_shapes = jax.eval_shape(optimizer.init, part_shapes)
    param_shardings = tree_shardings(logical_axes(params), param_shapes, mesh)
    adapter_shardings = tree_shardings(adapters.axes, adapters.shapes, mesh)
    part_shardings = overlay(select(param_shardings, trainable), adapter_shardings)
    whole = replicated(mesh)
    return Blueprint(
        graph=graph,
        optimizer=optimizer,
        trainable=trainable,
        adapters=adapters,
        adapter_scale=config.adapters.scale,
        shapes=TrainState(
            params=param_shapes,
            buffers=buffer_shapes,
            opt_state=opt_shapes,
            step=jax.ShapeDtypeStruct((), jnp.int32),
            adapters=adapters.shapes,
            average=part_shapes if config.ema else {},
        ),
        shardings=TrainState(
            params=param_shardings,
            buffers=tree_shardings(logical_axes(buffers), buffer_shapes, mesh),
            opt_state=optax.tree_utils.tree_map_params(
                optimizer,
                lambda leaf, sharding: leaf if _is_masked(leaf) else sharding,
                opt_shapes,
                part_shardings,
                transform_non_params=lambda _: whole,
                is_leaf=_is_masked,
            ),
            step=whole,
            adapters=adapter_shardings,
            average=part_shardings if config.ema else {},
        ),
    )


def _is_masked(leaf: Any) -> bool:
    """Return whether it stands for a parameter that another part of the optimiser updates."""
    return isinstance(leaf, optax.MaskedNode)


def init_state(blueprint: Blueprint, config: TrainConfig, run: Key[Array, ""]) -> TrainState:
    """Return the state at step 0, each array created on the devices that hold it."""

    def init(key: Key[Array, ""]) -> TrainState:
        model = config.make_model(rngs=initial_rngs(derive(key, Stream.INIT)))
        _, params, buffers = nnx.split(model, nnx.Param, Buffer)
        params, buffers = nnx.to_pure_dict(params), nnx.to_pure_dict(buffers)
        adapters = init_adapters(blueprint.adapters, derive(key, Stream.ADAPTERS))
        state = TrainState(
            params=params, buffers=buffers, opt_state={}, step=jnp.zeros((), jnp.int32), adapters=adapters
        )
        part = blueprint.trainable_part(state)
        return dataclasses.replace(state, opt_state=blueprint.optimizer.init(part), average=part if config.ema else {})

    return jax.jit(init, out_shardings=blueprint.shardings)(run)


def check_weights(found: SavedShapes | Weights, config: TrainConfig, planned: TrainState) -> None:
    """Refuse weights that a run cannot start from, before anything is made or read; `planned` has shapes.

    Raises:
      UserError: an array is not one of the model's, or has another shape.
    """
    expected = named_leaves({"params": planned.params, "buffers": planned.buffers})
    shapes = {name: tuple(leaf.shape) for name, leaf in expected.items()}
    wrong = [name for name, shape in found.shapes.items() if shapes.get(name) != shape]
    if not wrong:
        return
    raise UserError(
        f"init_from: {found.path} is of another model than this experiment's: {len(wrong)} of its {len(found.shapes)} "
        f"arrays do not fit, first {wrong[0]}, {found.shapes[wrong[0]]}, "
        f"expected {shapes.get(wrong[0], 'no such array')}; give weights of this model, or the experiment and "
        "overrides that they were made with"
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
