"""What an accelerator can do at most: the figures that a planned or a measured step is held against."""

from dataclasses import dataclass

GIB = 2**30
GB = 10**9
TERA = 10**12


@dataclass(frozen=True, kw_only=True)
class Chip:
    """Peaks of one chip, as its maker publishes them; no program reaches all of them at once."""

    name: str
    """As in a topology, `v5p` of `v5p:4x4x8`, or the maker's."""
    kinds: tuple[str, ...]
    """`jax.Device.device_kind` of it, one device a chip."""
    flops: int
    """Dense bfloat16 matrix products, FLOP/s; a multiply-add is two."""
    memory: int
    """Bytes. A compiler keeps some for itself: of 16 GiB of a v5e, 15.75."""
    memory_bandwidth: int
    """Bytes/s."""
    interconnect: int
    """Bytes/s that a chip sends, over all of its links to other chips of the slice or node, in one direction. Half of
    a figure published for both directions. A collective over one mesh axis may reach only some of the links."""
    source: str
    """Where each figure is published."""


CHIPS: tuple[Chip, ...] = (
    Chip(
        name="v4",
        kinds=("TPU v4",),
        flops=275 * TERA,
        memory=32 * GIB,
        memory_bandwidth=1200 * GB,
        interconnect=300 * GB,
        source="https://cloud.google.com/tpu/docs/v4: 275 TFLOPs, 32 GiB, 1200 GBps; Jouppi et al. (ISCA 2023), "
        "table 4: 6 links of 50 GB/s",
    ),
    Chip(
        name="v5e",
        kinds=("TPU v5 lite", "TPU v5e"),
        flops=197 * TERA,
        memory=16 * GIB,
        memory_bandwidth=819 * GB,
        interconnect=200 * GB,
        source="https://cloud.google.com/tpu/docs/v5e and .../v6e: 197 TFLOPs, 16 GB, 819 GBps, 1600 Gbps over 4 ports",
    ),
    Chip(
        name="v5p",
        kinds=("TPU v5", "TPU v5p"),
        flops=459 * TERA,
        memory=95 * GIB,
        memory_bandwidth=2765 * GB,
        interconnect=600 * GB,
        source="https://cloud.google.com/tpu/docs/v5p: 459 TFLOPs, 95 GiB, 2765 GBps, 1200 GBps both ways",
    ),
    Chip(
        name="v6e",
        kinds=("TPU v6 lite", "TPU v6e"),
        flops=918 * TERA,
        memory=32 * GIB,
        memory_bandwidth=1640 * GB,
        interconnect=400 * GB,
        source="https://cloud.google.com/tpu/docs/v6e: 918 TFLOPs, 32 GB, 1640 GBps, 800 GBps both ways",
    ),
    Chip(
        name="A100 SXM 40 GB",
        kinds=("NVIDIA A100-SXM4-40GB",),
        flops=312 * TERA,
        memory=40 * GB,
        memory_bandwidth=1555 * GB,
        interconnect=300 * GB,
        source="NVIDIA A100 datasheet: 312 TFLOPS dense, 40 GB, 1,555 GB/s, NVLink 600 GB/s both ways",
    ),
    Chip(
        name="A100 SXM 80 GB",
        kinds=("NVIDIA A100-SXM4-80GB",),
        flops=312 * TERA,
        memory=80 * GB,
        memory_bandwidth=2039 * GB,
        interconnect=300 * GB,
        source="NVIDIA A100 datasheet: 312 TFLOPS dense, 80 GB, 2,039 GB/s, NVLink 600 GB/s both ways",
    ),
    Chip(
        name="H100 SXM",
        kinds=("NVIDIA H100 80GB HBM3",),
        flops=989 * TERA,
        memory=80 * GB,
        memory_bandwidth=3350 * GB,
        interconnect=450 * GB,
        source="NVIDIA H100 datasheet: 1,979 TFLOPS with sparsity, 80 GB, 3.35 TB/s, NVLink 900 GB/s both ways",
    ),
    Chip(
        name="H200",
        kinds=("NVIDIA H200",),
        flops=989 * TERA,
        memory=141 * GB,
        memory_bandwidth=4800 * GB,
        interconnect=450 * GB,
        source="NVIDIA H200 datasheet: 1,979 TFLOPS with sparsity, 141 GB, 4.8 TB/s, NVLink 900 GB/s both ways",
    ),
)


def chip_of(device_kind: str) -> Chip | None:
    """Return the chip that JAX calls `device_kind`; None where the table has no figures, as for CPUs.

    Names must agree but for case: a PCIe card of the same generation has other peaks.
    """
    for chip in CHIPS:
        if device_kind.lower() in (kind.lower() for kind in chip.kinds):
            return chip
    return None
