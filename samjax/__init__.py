"""samjax: pretrain Segment Anything models in JAX.

    samjax.prepare("cells.json", "my_records", images="cells", holdout=0.1)
    config = samjax.experiment("experiments/sam/small.py", {"data.source": "my_records"})
    samjax.train(config, workdir="runs/mine")
    predictor = samjax.load("runs/mine")

These four are imported when they are first used: `import samjax` alone starts nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from samjax.api.annotated_records import prepare
    from samjax.api.experiments import experiment
    from samjax.api.predictors import load
    from samjax.api.training_run import train

__version__ = "0.1.0"
__all__ = ["experiment", "load", "prepare", "train"]

_MODULES = {
    "experiment": "samjax.api.experiments",
    "load": "samjax.api.predictors",
    "prepare": "samjax.api.annotated_records",
    "train": "samjax.api.training_run",
}


def __getattr__(name: str) -> Any:
    """Import what `import samjax` offers, when it is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module 'samjax' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
