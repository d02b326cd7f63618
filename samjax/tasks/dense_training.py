"""What all tasks of dense prediction share: the model, what it may start from, and the rows of a step."""

from dataclasses import field, replace
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from samjax.checkpoint.weights import Weights
from samjax.core.random import Rows
from samjax.core.ranges import config_class
from samjax.data.stream.example import NO_RECORD
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.models.mae import MaeConfig
from samjax.models.traced_flops import traced_flops
from samjax.nn.structure import abstract_model
from samjax.parallel.mesh import MeshConfig, make_mesh
from samjax.tasks.starting_backbone import backbone_of_vit, dense_of_dense, differs, has_other_vit
from samjax.training.config import StepKeys, TrainConfig


@config_class("")
class DenseTraining(TrainConfig):
    """Training of a dense prediction model; its subclasses are the tasks."""

    model: DenseConfig = field(default_factory=DenseConfig)
    """Sizes of the model."""

    def starting_models(self) -> tuple[type, ...]:
        """Return dense prediction models and masked autoencoders."""
        return DenseConfig, MaeConfig

    def must_convert(self, model: DenseConfig | MaeConfig) -> bool:
        """Return whether it is a masked autoencoder, or has other classes, another frame, window or kind of ViT."""
        return not isinstance(model, DenseConfig) or differs(model, self.model) or has_other_vit(model, self.model)

    def convert_weights(self, weights: Weights, model: DenseConfig | MaeConfig) -> Weights:
        """Return weights for this model's classes, frame and windows; of a masked autoencoder, or a model with another
        kind of ViT, the ViT alone.

        Raises:
          UserError: the backbone cannot be that ViT, or has other sizes.
        """
        if isinstance(model, DenseConfig) and not has_other_vit(model, self.model):
            return dense_of_dense(weights, model, self.model)
        return backbone_of_vit(weights, model, self.model)

    def flops(self) -> int | None:
        """Return the FLOPs that training on one crop takes; None if frozen in part.

        Attention windows count with their padding. None too where JAX has no CPU beside its accelerators, for the
        model is traced with the operations of a CPU: kernels do not say what they compute.
        """
        if not self.trains_everything:
            return None
        try:
            (here,) = jax.local_devices(backend="cpu")[:1]
        except RuntimeError:  # JAX_PLATFORMS names accelerators alone
            return None
        crop = jax.ShapeDtypeStruct((1, *self.model.image_size, 3), jnp.uint8)
        with jax.set_mesh(make_mesh(MeshConfig(data=1), [here])):
            graph, params, buffers = abstract_model(self.model.make)
            forward = traced_flops(
                lambda params, buffers, crop, key: nnx.merge(graph, params, buffers)(crop, key=key),
                *(params, buffers, crop, jax.eval_shape(lambda: jax.random.key(0))),
            )
        return 3 * forward


def rows_of(batch: Any, keys: StepKeys) -> Rows:
    """Return which rows of the whole batch these are, and which of them hold a photo."""
    present = batch.record_id != NO_RECORD
    return Rows.every(present) if keys.rows is None else replace(keys.rows, present=present)
