"""Training steps and initial states that tests share: a process traces and compiles each of them once."""

from typing import Any

import jax

from samjax.training import loop, start

_programs: dict[Any, Any] = {}


class _Compiled:
    """What `lower_train_step` returns, compiled already."""

    def __init__(self, program: jax.stages.Compiled):
        self._program = program

    def compile(self) -> jax.stages.Compiled:
        return self._program


def shapes_the_program(config) -> tuple:
    """Return the parts of a run's config that its training step is compiled from."""
    learning = (config.loss, config.optim, config.trainable, config.accumulate, config.adapters, config.ema)
    return (
        config.model,
        config.prompting,
        *learning,
        config.data.max_masks,
        config.batch_size,
        config.caches() is None,
    )


def share(patch) -> None:
    """Let every run of the loop take its step and its first state from here."""
    lower, init = loop.lower_train_step, start.init_state

    def lower_once(config, blueprint, mesh):
        # A test may put another loss in place of the step's own.
        key = (shapes_the_program(config), mesh, type(config).objective)
        if key not in _programs:
            _programs[key] = _Compiled(lower(config, blueprint, mesh).compile())
        return _programs[key]

    def init_once(blueprint, config, run):
        key = (
            config.without_caches(),
            jax.tree.leaves(blueprint.shardings)[0].mesh,
            tuple(jax.random.key_data(run).tolist()),
        )
        key = (*key, jax.tree.structure(blueprint.shapes))
        if key not in _programs:
            _programs[key] = init(blueprint, config, run)
        # The step takes its state's memory for the next one.
        return jax.tree.map(lambda leaf: leaf.copy(), _programs[key])

    patch.setattr(loop, "lower_train_step", lower_once)
    patch.setattr(start, "init_state", init_once)
