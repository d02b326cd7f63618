"""The initial state of a start: from the newest checkpoint, or fresh."""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Array, Key

from samjax.checkpoint.manager import Checkpoints, state_shapes
from samjax.checkpoint.weights import Weights, load_weights, read_shapes
from samjax.data.stream.loader import TrainStream
from samjax.train.config import TrainConfig
from samjax.train.state import Blueprint, TrainState, begin_with, check_weights, init_state


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
    like = state_shapes(as_dict(blueprint.shapes), as_dict(blueprint.shardings))
    found = checkpoints.restore_newest(like=like, stream=stream)
    if found is not None:
        step, state = found
        return Beginning(
            step=step, state=TrainState(**state), message=f"resumed from step {step} in {checkpoints.directory}"
        )
    if not config.init_from:
        return Beginning(step=0, state=init_state(blueprint, config, run), message="")
    weights = read_starting_weights(config, blueprint)
    state, said = begin_with(init_state(blueprint, config, run), weights, blueprint.shardings)
    return Beginning(step=0, state=state, message=said)


def read_starting_weights(config: TrainConfig, blueprint: Blueprint) -> Weights:
    """Return the weights at `config.init_from`, converted for the run's model.

    Weights of the same model are checked before their arrays are read.

    Raises:
      UserError: there are no weights, or the model cannot start from them.
    """
    found = read_shapes(config.init_from)
    wanted = type(config.model).__name__
    if found.config.get("model_class", wanted) == wanted:
        check_weights(found, config, blueprint.shapes)
    weights = config.starting_weights(load_weights(config.init_from))
    check_weights(weights, config, blueprint.shapes)
    return weights


def as_dict(state: TrainState) -> dict[str, Any]:
    """Return a state, or its shapes or shardings, as the dictionary that checkpoints hold."""
    return {"params": state.params, "buffers": state.buffers, "opt_state": state.opt_state, "step": state.step}
