"""Multi-head attention between token sets."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax.nn.initializers import Initializer
from jaxtyping import Array, Bool, Float

from samjax.nn.init import DECODER_INIT


class TokenAttention(nnx.Module):
    """Attention from one token set to another, projected to `inner` channels in all (the decoder's).

    Its parameters are replicated on every device.
    """

    def __init__(
        self,
        width: int,
        inner: int,
        heads: int,
        *,
        init: Initializer = DECODER_INIT,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ):
        def into() -> nnx.LinearGeneral:
            return nnx.LinearGeneral(
                width,
                (heads, inner // heads),
                kernel_init=init,
                dtype=dtype,
                rngs=rngs,
            )

        self.query, self.key, self.value = into(), into(), into()
        self.out = nnx.LinearGeneral(
            (heads, inner // heads),
            width,
            axis=(-2, -1),
            kernel_init=init,
            dtype=dtype,
            rngs=rngs,
        )

    def __call__(
        self,
        queries: Float[Array, "*n q d"],
        keys: Float[Array, "*n t d"],
        values: Float[Array, "*n t d"],
        *,
        key_valid: Bool[Array, "*n t"] | None = None,
    ) -> Float[Array, "*n q d"]:
        """Attend; keys where `key_valid` is False get no weight. Softmax in float32."""
        q, k, v = self.query(queries), self.key(keys), self.value(values)
        scores = jnp.einsum("...qec,...tec->...eqt", q, k, preferred_element_type=jnp.float32) * q.shape[-1] ** -0.5
        if key_valid is not None:
            scores = jnp.where(key_valid[..., None, None, :], scores, jnp.finfo(jnp.float32).min)
        weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
        return self.out(jnp.einsum("...eqt,...tec->...qec", weights, v))
