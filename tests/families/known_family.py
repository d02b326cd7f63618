"""What the laws of `test_families.py` need to know of a family."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from samjax.interop.family import Family
from samjax.training.config import TrainConfig

SYNTHETIC = "synthetic:photos=16,size=96,masks=4"


@dataclass(frozen=True, kw_only=True)
class Size:
    """A published size."""

    config: Any
    parameters: Mapping[str, float]
    """How many the paper or the release has, by the folder that they are in; "" is the whole model."""
    within: float = 0
    """How far that may be rounded."""
    golden: bool = False
    """Whether every parameter is listed in `tests/golden/FAMILY_SIZE_parameters.txt`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class KnownFamily:
    """One family, and what its laws need to know of it."""

    name: str
    """In file names and in the tests' ids."""
    tiny: Any
    """The config of a float32 model with every part, of a size that compiles in seconds. Where weights are exchanged,
    one that an import gives back: what no file says has its default."""
    sizes: Mapping[str, Size]
    """The published ones by name; the last is the largest."""
    from_input: tuple[str, ...]
    """Patterns of parameters from the input to the output: layer ids rise from each to the next."""
    undecayed: tuple[str, ...] = ()
    """Patterns of parameters without weight decay, beside those of norms and biases."""
    zero_kernels: tuple[str, ...] = ()
    """Patterns of kernels that begin at zero, whatever the key."""
    training: Callable[[], TrainConfig] | None = None
    """A run of the family's task with the model `tiny` on synthetic photos."""
    cached: bool = True
    """Whether the program over eight devices may come from the cache. Compiled with the tests' XLA flags and read back,
    one with all-to-all has waited in its collectives for ever (jaxlib 0.10); compiled anew, or with XLA's own flags, it
    never has."""
    begins_with: tuple[str, ...] = ()
    """Other families whose weights that run can begin with."""
    parity: tuple[str, ...] = ()
    """Tests that compare the model with a public one in float32: `tests/parity/test_x.py::test_y`."""
    exchange: Family | None = None
    """Its tables of weights of other codebases."""
    exchanged: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """Configs that a layout is tried with in place of `tiny`, by the naming's name: where one network has another in
    each layout, or kinds with arrays of their own."""
    jumps: bool = False
    """Whether rounding moves the gradient of `tiny` by more than the law of split batches allows: it then compares the
    loss alone."""
    costly: bool = False
    """Whether its two laws of training that take longest to compile are tried by hand alone: minutes each."""
    import_options: Mapping[str, Any] = field(default_factory=dict)
    """What an import has to be told of `tiny`, where its arrays do not say."""
