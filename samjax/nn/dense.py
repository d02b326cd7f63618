"""The kernels of a module's dense layers, and which of their axes are inputs and which outputs.

A kernel's axes are, in this order, those of a stack, those of its inputs and those of its outputs.
"""

from flax import nnx


def dense_kernels(module: nnx.Module) -> dict[str, tuple[int, int]]:
    """Return how many axes each dense layer's inputs and outputs have, by the path of its kernel."""
    kernels = {}
    for path, node in nnx.iter_graph(module):
        name = "/".join(map(str, (*path, "kernel")))
        if isinstance(node, nnx.LinearGeneral):
            kernels[name] = (len(node.in_features), len(node.out_features))
        elif isinstance(node, nnx.Linear):
            kernels[name] = (1, 1)
    return kernels
