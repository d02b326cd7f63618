"""The model in a checkpoint: its config as a dataclass, and the module with its weights."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from etils import epath

from samjax.checkpoint.weights import Weights, load_weights, read_shapes
from samjax.core.errors import UserError
from samjax.core.json_config import from_json, to_json
from samjax.nn.structure import check_arrays, model_with

C = TypeVar("C")

_EXECUTION = frozenset({"attention", "remat"})
"""Fields of a model's config, at any depth, that affect how a run computes, not what the model is."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoadedModel(Generic[C]):
    """A module with its weights, and the config that made it."""

    config: C
    model: Any
    """What `config.make` returns."""
    path: epath.Path
    """The checkpoint's own folder."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoadedWeights(Generic[C]):
    """Weights, and the config of their model."""

    config: C
    weights: Weights

    def check_whole(self) -> None:
        """Raise a `UserError` unless the weights are exactly those of a model of `config`."""
        weights = self.weights
        check_arrays(
            self.config.make,  # type: ignore[attr-defined]
            params=weights.params,
            buffers=weights.buffers,
            what=f"{weights.path}: the arrays",
        )


def load_model(
    path: epath.PathLike, config_class: type[C], *, needed_by: str = "", average: bool = True, **changes: Any
) -> LoadedModel[C]:
    """Return the model at `path`: a run's workdir (its newest checkpoint), one of its checkpoints, or imported weights.

    ```python
    loaded = load_model("runs/mae", MaeConfig, dtype="float32")
    ```

    Args:
      config_class: the config class of the expected model.
      needed_by: who needs the model, for the error that refuses another: "samjax predict".
      average: take the moving average of parameters where the run kept one; False takes the last step's.
      changes: new values of config fields that no weights depend on, such as `dtype`.

    Raises:
      UserError: there is no checkpoint; or it holds a model of another class, one that this version does not know, or
        an incomplete one.
      CorruptCheckpointError: it is damaged.
    """
    loaded = load_weights_and_config(path, config_class, needed_by=needed_by, average=average)
    config, weights = dataclasses.replace(loaded.config, **changes), loaded.weights  # type: ignore[type-var]
    model = model_with(
        config.make,  # type: ignore[attr-defined]
        params=weights.params,
        buffers=weights.buffers,
        what=f"{weights.path}: the arrays",
    )
    return LoadedModel(config=config, model=model, path=weights.path)


def load_weights_and_config(
    path: epath.PathLike, *config_classes: type[C], needed_by: str = "", average: bool = True
) -> LoadedWeights[C]:
    """Return the weights at `path` and their config, of one of several classes; they may be only a part of the model.

    Arguments and errors as for `load_model`.
    """
    found = read_shapes(path)  # before minutes of reading
    config = config_of(found.config, *config_classes, name=str(found.path), needed_by=needed_by)
    return LoadedWeights(config=config, weights=load_weights(path, average=average))


def config_of(run: Mapping[str, Any], *config_classes: type[C], name: str, needed_by: str = "") -> C:
    """Return the model's config from the JSON config of a run or of imported weights, called `name` in errors.

    Fields about how the run computed get their defaults: its attention kernel may not run on this platform. Checkpoints
    from before `model_class` was recorded are recognised by their fields.

    Raises:
      UserError: it describes no model or one of another class, or has a field that this version does not know.
    """
    if "model" not in run:
        raise UserError(f"{name}: its config describes no model; give a checkpoint of samjax train or samjax import")
    saved_class = run.get("model_class")
    candidates = [one for one in config_classes if saved_class in (None, one.__name__)]
    if not candidates:
        held = f"{run.get('model_words', 'a model')} ({saved_class})"
        expected = " or ".join(f"{model_words(one)} ({one.__name__})" for one in config_classes)
        raise UserError(f"{name} holds {held}; {f'{needed_by} needs' if needed_by else 'expected'} {expected}")
    faults = []
    for candidate in candidates:
        try:
            return from_json(candidate, _without_execution(run["model"]), name=f"{name}: model")
        except UserError as error:
            faults.append(str(error))
    fault = faults[0]
    if "of this version's" in fault:
        other = "" if saved_class else "it holds another model, or "
        fault += f"; {other}another version of samjax saved it, which can still read it"
    raise UserError(fault)


def model_record(config: Any) -> dict[str, Any]:
    """Return a model's entry in a checkpoint's config, as JSON: its fields, its class, and what it is in words."""
    return {
        "model": json.loads(to_json(config)),
        "model_class": type(config).__name__,
        "model_words": model_words(type(config)),
    }


def model_words(config_class: type) -> str:
    """Return what a model of a config class is, with an article: the class attribute `WORDS`."""
    return getattr(config_class, "WORDS", "a model")


def _without_execution(model: Any) -> Any:
    if not isinstance(model, Mapping):
        return model
    return {key: _without_execution(value) for key, value in model.items() if key not in _EXECUTION}
