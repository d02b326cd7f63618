"""The initial state of a start: from the newest checkpoint, or fresh."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax
from jaxtyping import Array, Key

from samjax.checkpoint.load import config_of
from samjax.checkpoint.manager import Checkpoints, state_shapes
from samjax.checkpoint.weights import SavedShapes, Weights, load_weights, read_shapes
from samjax.data.stream.loader import TrainStream
from samjax.training.config import TrainConfig
from samjax.training.state import Blueprint, TrainState, begin_with, check_weights, init_state


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """An initial state, and where it comes from."""

    step: int
    """Steps taken so far, over all starts of the run."""
    state: TrainState
    message: str
    """A line for the user; empty for a fresh state."""


def begin(
    config: TrainConfig, blueprint: Blueprint, *, checkpoints: Checkpoints, stream: TrainStream, run: Key[Array, ""]
) -> Beginning:
    """Return the state of the newest complete checkpoint and move `stream` to its position, or return a fresh state.

    A fresh state takes matching arrays from `config.init_from`, which is checked before the model is made.

    Raises:
      UserError: the checkpoints hold another model, or none is complete; or the weights belong to another model.
    """
    like = state_shapes(blueprint.shapes.as_dict(), blueprint.shardings.as_dict())
    found = checkpoints.restore_newest(like=like, stream=stream)
    if found is not None:
        step, state = found
        return Beginning(
            step=step, state=TrainState(**state), message=f"resumed from step {step} in {checkpoints.directory}"
        )
    return fresh_start(config, blueprint, run)


def fresh_start(config: TrainConfig, blueprint: Blueprint, run: Key[Array, ""]) -> Beginning:
    """Return a fresh state, with arrays from `config.init_from`; see `begin`."""
    if not config.init_from:
        return Beginning(step=0, state=init_state(blueprint, config, run), message="")
    found = find_starting_weights(config, blueprint)
    weights = found if isinstance(found, Weights) else load_weights(config.init_from)
    state, said = begin_with(init_state(blueprint, config, run), weights, blueprint.shardings)
    if config.ema:  # of the weights that are there now, in memory of its own: a step takes its state's
        average = jax.tree.map(lambda leaf: leaf.copy(), blueprint.trainable_part(state))
        state = dataclasses.replace(state, average=average)
    return Beginning(step=0, state=state, message=said)


def find_starting_weights(config: TrainConfig, blueprint: Blueprint) -> SavedShapes | Weights:
    """Return the weights at `config.init_from`, checked; their arrays are read only if they must be converted.

    Raises:
      UserError: there are no weights, or the model cannot start from them.
    """
    found = read_shapes(config.init_from)
    model = starting_model(found, config)
    if config.must_convert(model):
        found = config.convert_weights(load_weights(config.init_from), model)
    check_weights(found, config, blueprint.shapes)
    return found


def starting_model(found: SavedShapes | Weights, config: TrainConfig) -> Any:
    """Return the config of the model whose weights were found.

    Raises:
      UserError: the run cannot start from such a model.
    """
    return config_of(
        found.config, *config.starting_models(), name=f"init_from: {found.path}", needed_by="this experiment"
    )
