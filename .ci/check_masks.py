"""Whether a trained model's automatic masks are those of the published algorithm: `python .ci/check_masks.py WORKDIR`.

The tests hold this for masks that are known and for random weights; here the weights are those of a finished run of
`experiments/sam/smoke.py`, on two photos that it has not seen, with crops and specks. A model trained for minutes
trusts no mask as much as the published settings ask for, so that they are lower.
"""

import io
import sys
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "predict")]

from test_mask_generator import check  # noqa: E402

from samjax.predict.automatic.generator_config import GeneratorConfig  # noqa: E402
from samjax.predict.engine import Engine  # noqa: E402

PHOTOS = ROOT / "experiments" / "sam" / "photos" / "val" / "sa_000000.tar"


def photos(count: int) -> list[np.ndarray]:
    """Return the first photos of the held-out ones."""
    with tarfile.open(PHOTOS) as tar:
        members = [member for member in tar if member.name.endswith(".jpg")][:count]
        return [np.array(Image.open(io.BytesIO(tar.extractfile(member).read())).convert("RGB")) for member in members]


def main(workdir: str) -> str:
    """Return how many masks are the same; AssertionError where one is not."""
    engine, counts = Engine.from_checkpoint(workdir), []
    for layers in (0, 1, 2):
        config = GeneratorConfig.sa1b(
            points_per_side=16,
            crop_layers=layers,
            pred_iou_threshold=0.15,
            stability_threshold=0.3,
            box_nms_threshold=0.9,
            crop_nms_threshold=0.9,
        )
        found = check(engine, photos(2), config)
        counts.append(sum(len(masks) for masks in found))
    assert min(counts) > 0, f"no mask to compare: {counts}"
    return f"{counts} masks with 0, 1 and 2 layers of crops are the published algorithm's"


if __name__ == "__main__":
    print(main(sys.argv[1]))
