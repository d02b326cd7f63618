"""Speed of the data stream, compared with a PyTorch Dataset of the same photos and the same output.

    python benchmarks/stream.py                     # all of it, a few minutes; prints the tables of docs/benchmarks.md
    python benchmarks/stream.py --only samples masks jpeg waiting memory
    python benchmarks/stream.py --photos 'sa1b/sa_*.tar' --count 50

Photos are first resized to SA-1B's size: 1500 pixels on the shortest side, 100 masks each. Both sides run alternately
in this process, on one core with one thread; their masks and images must be equal. Times are medians of CPU time; those
of the whole stream are wall time. Libraries that are not installed are skipped and named:
`pip install torch opencv-python-headless faster-coco-eval rlemasklib`.
"""

# pyright: reportMissingImports=false
# The libraries compared are no dependencies of the project.

import argparse
import glob
import importlib.metadata
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SHIPPED = Path(__file__).parent.parent / "experiments" / "sam" / "photos" / "train" / "sa_000000.tar"
FRAME, MASKS, SMALL = 1024, 64, 256
ROUNDS = 11
CONSUMERS = {"four v5p chips": ("v5p", 4), "one H200": ("H200", 1)}
BATCHES = 2_000


def table(*rows: tuple[str, ...]) -> None:
    """Print rows as Markdown, the first as heading."""
    print("\n".join(["| " + " | ".join(row) + " |" for row in (rows[0], ("---",) * len(rows[0]), *rows[1:])]) + "\n")


def alternate(sides: dict[str, Callable[[Any], Any]], over: list[Any], *, rounds: int) -> dict[str, float]:
    """Return the median seconds of a core that each side takes, run in turns on each element.

    They are seconds of work, as the kernel counts them: what else runs on the machine does not change them much.
    """
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for one in over[:1]:
        for side in sides.values():
            side(one)  # compile, import, fill caches
    for _ in range(rounds):
        for one in over:
            for name, side in sides.items():
                began = time.process_time()
                side(one)
                taken[name].append(time.process_time() - began)
    return {name: statistics.median(times) for name, times in taken.items()}


def samples(photos: list[Any], *, rounds: int) -> float:
    """Whole samples: image and 64 masks at 1024 pixels. Returns ours a second a core."""
    import torch
    from torch_dataset import SegmentAnything

    from samjax.data.masks.mask_data import MaskDataConfig, MaskExamples
    from samjax.data.records import masks as records
    from samjax.data.stream.example import Decode, Example, RawRecord

    torch.set_num_threads(1)
    encoded = [RawRecord(f"photo {index}", records.encode_record(photo)) for index, photo in enumerate(photos)]
    make = Decode(MaskExamples(MaskDataConfig(source="", max_masks=MASKS), image_size=(FRAME, FRAME)))
    theirs = SegmentAnything(photos, frame=FRAME, masks=MASKS, seed=0)
    for index, one in enumerate(encoded):
        example, other = make(one, np.random.default_rng(0)), theirs[index]
        assert isinstance(example, Example), example
        np.testing.assert_array_equal(example.arrays["image"], other["image"].numpy())
        np.testing.assert_array_equal(np.unpackbits(example.arrays["masks"], axis=-1), other["masks"].numpy())
    seconds = alternate(
        {"ours": lambda index: make(encoded[index], np.random.default_rng(0)), "theirs": theirs.__getitem__},
        list(range(len(photos))),
        rounds=rounds,
    )
    ours, other = 1 / seconds["ours"], 1 / seconds["theirs"]
    table(
        ("whole samples, 64 masks at 1024 px", "a second a core", "ratio"),
        ("PyTorch Dataset: PIL, pycocotools", f"{other:.2f}", "1"),
        ("samjax, from the encoded record", f"{ours:.1f}", f"{ours / other:.0f}"),
    )
    return ours


def masks(photos: list[Any], *, rounds: int) -> None:
    """Masks to 256 x 256, and to 1024 x 1024: ours, and each library that is installed."""
    from pycocotools import mask as coco
    from torch_dataset import decode_and_resize

    from samjax.data.masks import rle
    from samjax.data.masks.resample import MaskGrid

    def ours(size: tuple[int, int]) -> Callable[[Any], np.ndarray]:
        def paint(photo: Any) -> np.ndarray:
            codes = rle.join([one.counts for one in photo.annotations])
            rle.measure(codes, height=photo.height, width=photo.width)
            grid = MaskGrid.to_size(height=photo.height, width=photo.width, size=size)
            return np.unpackbits(grid.paint(codes, np.arange(len(codes.ends)), most=len(codes.ends)).masks, axis=-1)

        return paint

    def one_by_one(resize: Callable[..., np.ndarray]) -> Callable[[Any], np.ndarray]:
        return lambda photo: np.stack([resize(photo, one.counts, size=(SMALL, SMALL)) for one in photo.annotations])

    def coded(photo: Any, counts: str) -> Any:
        return {"size": [photo.height, photo.width], "counts": counts.encode()}

    sides = {
        "pycocotools decode, nearest": one_by_one(decode_and_resize),
        "samjax, unpacked to bytes": ours((SMALL, SMALL)),
    }
    try:
        import cv2

        cv2.setNumThreads(1)
        flag = cv2.INTER_NEAREST_EXACT
        sides["pycocotools decode, OpenCV nearest"] = one_by_one(
            lambda photo, counts, size: cv2.resize(coco.decode(coded(photo, counts)), size, interpolation=flag)
        )
    except ImportError:
        print("OpenCV is not installed: not compared")
    try:
        from faster_coco_eval.core import mask as faster
        from PIL import Image

        sides["faster-coco-eval decode, PIL nearest"] = one_by_one(
            lambda photo, counts, size: np.asarray(
                Image.fromarray(faster.decode(coded(photo, counts))).resize(size, Image.Resampling.NEAREST)
            )
        )
    except ImportError:
        print("faster-coco-eval is not installed: not compared")
    try:
        from rlemasklib import RLEMask

        sides["rlemasklib, resized as runs"] = one_by_one(
            lambda photo, counts, size: RLEMask.from_dict(coded(photo, counts)).resize(size).to_array()
        )
    except ImportError:
        print("rlemasklib is not installed: not compared")
    expected = {name: [side(photo) for photo in photos] for name, side in sides.items()}
    reference = expected.pop("pycocotools decode, nearest")
    differing = {
        name: float(np.mean([np.mean(one != other) for one, other in zip(found, reference, strict=True)]))
        for name, found in expected.items()
    }
    assert differing["samjax, unpacked to bytes"] == 0
    seconds = alternate(sides, photos, rounds=rounds)
    first = seconds["pycocotools decode, nearest"]
    rows = [("masks to 256 x 256", "a second a core", "ratio", "pixels that differ")]
    for name, taken in sorted(seconds.items(), key=lambda item: -item[1]):
        count = len(photos[0].annotations)
        rows.append((name, f"{count / taken:,.0f}", f"{first / taken:.1f}", f"{differing.get(name, 0):.3%}"))
    large = alternate({"ours": ours((FRAME, FRAME))}, photos, rounds=rounds)["ours"]
    rows.append(("samjax, to 1024 x 1024, unpacked", f"{len(photos[0].annotations) / large:,.0f}", "", "0.000%"))
    characters = statistics.mean(len(one.counts) for photo in photos for one in photo.annotations)
    print(f"{len(photos)} photos of {photos[0].height} x {photos[0].width}, {characters:,.0f} characters a mask\n")
    table(*rows)


def jpeg(photos: list[Any], small: list[bytes], *, rounds: int) -> None:
    """Photos to the frame: time at SA-1B's size, error on photos that were not enlarged, at the same scale."""
    import io

    from PIL import Image

    from samjax.data.frame import Decoding, frame_photo
    from samjax.data.view import WHOLE

    rng = np.random.default_rng(0)

    def size(data: bytes) -> tuple[int, int]:
        with Image.open(io.BytesIO(data)) as photo:
            return photo.height, photo.width

    def samjax(decoding: Decoding) -> Callable[[bytes, int], np.ndarray]:
        return lambda data, frame: frame_photo(
            data,
            view=WHOLE.draw(rng, photo=size(data), frame=(frame, frame)),
            frame=(frame, frame),
            decoding=decoding,
        )

    def framed(pixels: np.ndarray, frame: int) -> np.ndarray:
        image = np.zeros((frame, frame, 3), np.uint8)
        image[: pixels.shape[0], : pixels.shape[1]] = pixels
        return image

    def fitted(data: bytes, frame: int) -> tuple[int, int]:
        height, width = WHOLE.draw(rng, photo=size(data), frame=(frame, frame)).window
        return width, height

    def pil(data: bytes, frame: int) -> np.ndarray:
        photo = Image.open(io.BytesIO(data)).convert("RGB")
        return framed(np.asarray(photo.resize(fitted(data, frame), Image.Resampling.BILINEAR)), frame)

    def draft(data: bytes, frame: int) -> np.ndarray:
        photo = Image.open(io.BytesIO(data))
        photo.draft("RGB", fitted(data, frame))
        return framed(np.asarray(photo.convert("RGB").resize(fitted(data, frame), Image.Resampling.BILINEAR)), frame)

    ways = {
        "PIL": pil,
        "samjax, EXACT: simplejpeg, PIL's resize": samjax(Decoding.EXACT),
        "samjax, SCALED: simplejpeg by eighths": samjax(Decoding.SCALED),
        "PIL's draft mode": draft,
    }
    try:
        import cv2

        stored, colour = cv2.IMREAD_IGNORE_ORIENTATION, cv2.IMREAD_COLOR_RGB
        half = cv2.IMREAD_REDUCED_COLOR_2

        def opencv(flags: int, order: slice) -> Callable[[bytes, int], np.ndarray]:
            return lambda data, frame: framed(
                cv2.resize(
                    np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), flags))[..., order],
                    fitted(data, frame),
                    interpolation=cv2.INTER_AREA,
                ),
                frame,
            )

        ways["OpenCV, area"] = opencv(stored | colour, slice(None))
        ways["OpenCV, half the size, area"] = opencv(stored | half, slice(None, None, -1))
    except ImportError:
        print("OpenCV is not installed: not compared")
    columns: dict[str, list[str]] = {name: [] for name in ways}
    for frame in (1024, 512, 256):
        sides = {name: lambda data, way=way: way(data, frame) for name, way in ways.items()}  # noqa: B023
        seconds = alternate(sides, [photo.jpeg for photo in photos], rounds=rounds)
        scale = frame / max(photos[0].height, photos[0].width)
        for name, way in ways.items():
            errors = []
            for data in small:
                there = max(1, round(max(size(data)) * scale))
                covered = fitted(data, there)
                error = np.abs(way(data, there).astype(int) - pil(data, there))[: covered[1], : covered[0]]
                errors.append(error.mean())
            columns[name].append(f"{1e3 * seconds[name]:.1f} ms, {np.mean(errors):.2f}")
    table(
        ("JPEG of 1500 px to a frame of", "1024 px", "512 px", "256 px"),
        *((name, *cells) for name, cells in columns.items()),
    )
    print("Median time a photo, and the mean error against PIL in grey levels on photos that were not enlarged.\n")


def waiting(folder: str) -> None:
    """A step slower than the stream: how long it waits for data."""
    from samjax.data.masks.mask_data import MaskDataConfig, MaskExamples
    from samjax.data.stream.loader import train_stream

    batch = 4
    config = MaskDataConfig(source=folder, threads=os.cpu_count() or 1, prefetch_photos=16)
    stream = train_stream(config, MaskExamples(config, image_size=(FRAME, FRAME)), batch_size=batch, seed=0)
    for _ in range(8):
        next(stream)
    began = time.perf_counter()
    for _ in range(16):
        next(stream)
    alone = (time.perf_counter() - began) / 16
    step = 1.5 * alone
    time.sleep(4 * step)  # as after a compilation: what is prepared ahead is there
    before, began = stream.waited, time.perf_counter()
    for _ in range(40):
        next(stream)
        time.sleep(step)  # an accelerator at work, which needs no core of the host
    share = (stream.waited - before) / (time.perf_counter() - began)
    stream.close()
    table(
        ("the stream as a whole, batches of 4 at 1024 px", ""),
        (f"photos a second, {os.cpu_count()} cores", f"{batch / alone:.1f}"),
        (f"a step of {1e3 * step:.0f} ms, half slower than that, waits", f"{share:.2%} of its time"),
    )
    assert share < 0.01, share


def memory(folder: str) -> None:
    """The host's memory over 2,000 batches."""
    import gc

    import psutil

    from samjax.data.masks.mask_data import MaskDataConfig, MaskExamples
    from samjax.data.stream.loader import train_stream

    process = psutil.Process()
    config = MaskDataConfig(source=folder, threads=2, prefetch_photos=8)
    stream = train_stream(config, MaskExamples(config, image_size=(SMALL, SMALL)), batch_size=4, seed=0)
    sizes = []
    for step in range(1, BATCHES + 1):
        next(stream)
        if step % (BATCHES // 10) == 0:
            gc.collect()
            sizes.append(process.memory_info().rss / 2**20)
    stream.close()
    table(
        (f"resident memory over {BATCHES:,} batches", "MiB"),
        *((f"after {(index + 1) * BATCHES // 10:,}", f"{size:.0f}") for index, size in enumerate(sizes)),
    )
    assert sizes[-1] < 1.05 * sizes[1], f"memory grew: {sizes}"


def needs(a_second: float) -> None:
    """What a host must deliver at half of the accelerators' peak."""
    from samjax.models.sam.flops import photo_flops
    from samjax.models.sam.sam import SamConfig
    from samjax.parallel.chips import CHIPS

    rows = [("ViT-H at half of the bfloat16 peak", "photos a second", "masks a second", "cores like this one")]
    least = photo_flops(SamConfig.vit_h(), masks=MASKS, rounds=ROUNDS).training
    chips = {chip.name: chip for chip in CHIPS}
    for name, (chip, count) in CONSUMERS.items():
        eaten = 0.5 * count * chips[chip].flops / least
        rows.append((name, f"{eaten:.0f}", f"{eaten * MASKS:,.0f}", f"{eaten / a_second:.1f}"))
    table(*rows)


def machine() -> str:
    """Return what the numbers were taken on."""
    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.processor(),
    )
    versions = []
    for name in ("numba", "simplejpeg", "pillow", "pycocotools", "torch", "numpy", "grain", "opencv-python-headless"):
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return f"{cpu}, {os.cpu_count()} cores; Python {platform.python_version()}, {', '.join(versions)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", default=str(SHIPPED), help="tars in SA-1B's layout, a quoted glob")
    parser.add_argument("--count", type=int, default=12, help="how many photos (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="times each photo is measured (default: %(default)s)")
    parts = ("samples", "masks", "jpeg", "waiting", "memory")
    parser.add_argument("--only", nargs="+", choices=parts, default=parts, metavar="PART", help=f"of {parts}")
    arguments = parser.parse_args()

    import sa1b_sized

    from data_pipelines import sa1b

    tars = [Path(path) for path in sorted(glob.glob(arguments.photos))]
    if not tars:
        raise SystemExit(f"{arguments.photos} names no tar")
    print(f"{machine()}\n")
    photos = sa1b_sized.photos(tars, arguments.count)
    print(f"{len(photos)} photos of SA-1B's size from {arguments.photos}\n")
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    if "samples" in arguments.only:
        needs(samples(photos, rounds=arguments.rounds))
    if "masks" in arguments.only:
        masks(photos, rounds=arguments.rounds)
    if "jpeg" in arguments.only:
        small = [data for data, _ in sa1b_sized.pairs(tars)][:40]
        jpeg(photos, small, rounds=arguments.rounds)
    os.sched_setaffinity(0, cores)
    with tempfile.TemporaryDirectory() as out:
        if "waiting" in arguments.only:
            sa1b.prepare(str(sa1b_sized.write_tar(photos, Path(out) / "sa_000000.tar")), str(Path(out) / "large"))
            waiting(str(Path(out) / "large"))
        if "memory" in arguments.only:
            sa1b.prepare(str(tars[0]), str(Path(out) / "small"))
            memory(str(Path(out) / "small"))


if __name__ == "__main__":
    main()
