"""Every test runs with shapes and dtypes checked, and on eight virtual CPU devices."""

import jax
from jaxtyping import install_import_hook

jax.config.update("jax_num_cpu_devices", 8)
install_import_hook("samjax", "beartype.beartype")
