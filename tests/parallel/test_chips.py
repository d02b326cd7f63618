"""The table of chips: JAX's names are found, and the figures are those of a chip."""

import pytest

from samjax.parallel.chips import CHIPS, chip_of


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("TPU v4", "v4"),
        ("TPU v5 lite", "v5e"),
        ("TPU v5e", "v5e"),
        ("TPU v5", "v5p"),
        ("TPU v5p", "v5p"),
        ("TPU v6 lite", "v6e"),
        ("TPU v6e", "v6e"),
        ("NVIDIA A100-SXM4-80GB", "A100 SXM 80 GB"),
        ("NVIDIA H100 80GB HBM3", "H100 SXM"),
        ("NVIDIA H200", "H200"),
    ],
)
def test_device_kinds_of_jax_are_found(kind, name):
    chip = chip_of(kind)
    assert chip is not None
    assert chip.name == name


@pytest.mark.parametrize("kind", ["cpu", "", "TPU v4 lite", "NVIDIA H100 PCIe", "NVIDIA A100-PCIE-40GB"])
def test_a_chip_that_only_looks_alike_has_no_figures(kind):
    assert chip_of(kind) is None


def test_no_kind_names_two_chips():
    kinds = [kind.lower() for chip in CHIPS for kind in chip.kinds]
    assert len(kinds) == len(set(kinds))
    assert len({chip.name for chip in CHIPS}) == len(CHIPS)


@pytest.mark.parametrize("chip", CHIPS, ids=lambda chip: chip.name)
def test_figures_are_in_bytes_and_flops_a_second(chip):
    """A figure in Gbit, in TFLOP or with sparsity's factor of two falls out of what chips of these years can do."""
    assert 100 < chip.flops / chip.memory_bandwidth < 600, "FLOP a byte of memory"
    assert 2 < chip.memory_bandwidth / chip.interconnect < 12, "memory is several times faster than links"
    assert 10e9 < chip.memory < 200e9
    assert chip.source
