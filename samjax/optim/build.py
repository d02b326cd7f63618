"""The optimiser of the pretraining recipe."""

import enum
from dataclasses import field
from typing import Annotated, Any

import optax

from samjax.core.errors import UserError
from samjax.core.ranges import Range, config_class
from samjax.core.tree import LayerIds, first_match, map_with_names
from samjax.optim.layer_decay import scale_by_layer
from samjax.optim.muon import Matrices, scale_matrices_by_muon
from samjax.optim.rates import parse_rates
from samjax.optim.schedule import DropsConfig, ScheduleConfig

# Biases, norms, and tables of positions, of offsets within windows and of queries are not decayed; the first pattern
# that matches decides.
WEIGHT_DECAY_RULES = (
    ("*/bias", False),
    ("*norm*/scale", False),
    ("*/norm*/*", False),
    ("*position*", False),
    ("*/attention/offsets", False),
    ("*decoder/queries", False),
    ("*decoder/level", False),
    ("*", True),
)


_Beta = Annotated[float, Range(at_least=0, below=1, why="a moving average keeps this share of itself at each update")]


class Optimizer(enum.Enum):
    """The rule of updates."""

    ADAMW = "adamw"
    """Adam with decoupled weight decay (Loshchilov & Hutter)."""
    SGD = "sgd"
    """Stochastic gradient descent with momentum, as PyTorch has it: weight decay is part of the gradient."""


@config_class("optim")
class OptimConfig:
    """AdamW with layer-wise decay and a global-norm clip (Segment Anything, appendix A; clip and exemptions ours).

    Muon for chosen kernels is an option, and SGD for all.
    """

    optimizer: Optimizer = Optimizer.ADAMW
    """The rule of updates."""
    schedule: ScheduleConfig = field(default_factory=DropsConfig)
    """The learning rate; its class is the kind."""
    beta1: _Beta = 0.9
    """Share of the gradient's moving average that stays at each update."""
    beta2: _Beta = 0.999
    """Share of the squared gradient's moving average that stays at each update."""
    momentum: _Beta = 0.9
    """SGD alone: share of the sum of earlier gradients that stays at each update."""
    epsilon: Annotated[float, Range(above=0, why="updates are divided by it where gradients are 0")] = 1e-8
    """Added to the square root that updates are divided by."""
    weight_decay: Annotated[float, Range(at_least=0, why="below 0 weights would grow by themselves")] = 0.1
    """Share of the learning rate by which weights shrink at each update; biases, norms and tables do not."""
    layer_decay: Annotated[float, Range(above=0, at_most=1, why="lower layers learn more slowly")] = 0.8
    """Ratio of one layer's learning rate to the next one's; 1 turns it off."""
    rates: tuple[str, ...] = ()
    """Multipliers of the learning rate, as PATTERN=NUMBER over the paths of trainable parameters, such as
    `image_encoder/**=0.1`; the first pattern that matches decides, on top of layer_decay."""
    muon: tuple[str, ...] = ()
    """Patterns over the paths of trainable parameters, such as `**/groups/**/kernel`: the dense layers' kernels that
    match are updated by Muon, and have one moment instead of two."""
    clip_norm: Annotated[float, Range(at_least=0, why="it is a norm, and 0 turns clipping off")] = 1.0
    """Largest global norm of the gradient; 0 turns clipping off."""

    def __post_init__(self):
        parse_rates(self.rates)
        if self.optimizer is Optimizer.SGD and self.muon:
            raise UserError("optim.muon is for kernels beside AdamW's, not SGD's: give one of them")


def decay_mask(parameters: Any) -> Any:
    """Return whether weight decay applies, for each parameter."""
    return map_with_names(lambda name, _: first_match(name, WEIGHT_DECAY_RULES), parameters)


def make_optimizer(
    config: OptimConfig, layer_ids: LayerIds, *, steps: int, matrices: Matrices | None = None
) -> optax.GradientTransformation:
    """Return the recipe as one transformation of gradients, for a run of `steps` updates.

    `layer_ids` places the model's parameters in its depth; `matrices` are the kernels of `config.muon`, see
    `muon_matrices`.
    """
    decay = optax.add_decayed_weights(config.weight_decay, mask=decay_mask)
    if config.optimizer is Optimizer.SGD:
        direction = (decay, optax.trace(config.momentum))
    else:
        direction = (_direction(config, matrices or {}), decay)
    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm) if config.clip_norm > 0 else optax.identity(),
        *direction,
        scale_by_layer(config.layer_decay, layer_ids, multipliers=parse_rates(config.rates)),
        optax.scale_by_learning_rate(config.schedule.learning_rate(steps)),
    )


def _direction(config: OptimConfig, matrices: Matrices) -> optax.GradientTransformation:
    """Return the updates' directions: Adam's, and Muon's for `matrices`."""
    adam = optax.scale_by_adam(b1=config.beta1, b2=config.beta2, eps=config.epsilon)
    if not matrices:
        return adam

    def labels(parameters: Any) -> Any:
        return map_with_names(lambda name, _: "muon" if name in matrices else "adam", parameters)

    return optax.partition({"muon": scale_matrices_by_muon(matrices), "adam": adam}, labels)
