"""`samjax predict`: masks of one object in a photo."""

import argparse
import json
from pathlib import Path
from typing import Any

from samjax.cli.arguments import refuse_more
from samjax.core.errors import UserError

_DESCRIPTION = """\
Predict the masks of one object in a photo, prompted by points, a box or both, together. Places are pixels of the photo
as a viewer shows it, x from the left and y from the top. A single point or box may mean several things and gets three
masks; more than one prompt gets one. Writes each mask as a PNG, all over the photo, and a JSON with their RLE."""


def add_parser(commands, name: str) -> None:
    """Add `samjax predict`."""
    parser = commands.add_parser(name, help="masks for prompts on a photo", description=_DESCRIPTION)
    parser.add_argument("--checkpoint", required=True, metavar="C", help="a run's workdir, a checkpoint, or weights")
    parser.add_argument("--image", required=True, metavar="FILE", help="a JPEG, PNG or other picture")
    parser.add_argument(
        "--point",
        action="append",
        default=[],
        metavar="X,Y[,0]",
        help="a point on the object, or with ,0 beside it; may be given again",
    )
    parser.add_argument("--box", metavar="X0,Y0,X1,Y1", help="the object's box")
    parser.add_argument("--masks", type=int, choices=(1, 3), help="how many (default: 3 for a single prompt, else 1)")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write")
    parser.set_defaults(run=_run)


def _run(known: argparse.Namespace, rest: list[str]) -> int:
    refuse_more(rest, "predict")
    points = [_numbers(text, "--point", (2, 3)) for text in known.point]
    box = None if known.box is None else _numbers(known.box, "--box", (4,))
    if not points and box is None:
        raise UserError("there is no prompt: give --point X,Y or --box X0,Y0,X1,Y1")
    multimask = known.masks == 3 if known.masks else len(points) + (box is not None) == 1
    image, out = Path(known.image), Path(known.out)
    count = 3 if multimask else 1
    files = {
        "json": out / f"{image.stem}.json",
        "overlay": out / f"{image.stem}_overlay.png",
        **{str(k): out / f"{image.stem}_mask{k + 1}.png" for k in range(count)},
    }
    there = [path for path in files.values() if path.exists()]
    if there:
        raise UserError(f"{there[0]} is there already, and nothing is written over: give another --out")
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file; give a folder")

    from samjax.core.compile_cache import enable_compile_cache
    from samjax.predict.photo import read_photo
    from samjax.predict.predictor import Predictor
    from samjax.predict.prompts import photo_prompts

    photo, prompts = read_photo(image), _prompts(points, box)
    size = photo.shape[:2]
    photo_prompts(**prompts, mask_logits=None, photo=size, fitted=size, logits_size=(0, 0))  # before minutes of reading
    enable_compile_cache()
    predictor = Predictor.from_checkpoint(known.checkpoint)
    predictor.set_image(photo)
    prediction = predictor.predict(**prompts, multimask=multimask)
    _write(files, image=image, photo=photo, points=points, box=box, prediction=prediction, checkpoint=known.checkpoint)
    for k in range(count):
        print(f"{files[str(k)]}: predicted IoU {prediction.iou[0, k]:.3f}, {prediction.masks[0, k].sum():,} pixels")
    print(f"{files['overlay']}\n{files['json']}")
    return 0


def _numbers(text: str, option: str, lengths: tuple[int, ...]) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in lengths:
        raise UserError(f"{option} {text}: expected {' or '.join(str(n) for n in lengths)} numbers with commas between")
    return numbers


def _prompts(points: list[list[float]], box: list[float] | None) -> dict[str, Any]:
    """Return them as `Predictor.predict` takes them, for one object."""
    prompts: dict[str, Any] = {"points": None, "labels": None, "boxes": None}
    if points:
        prompts["points"] = [[point[:2] for point in points]]
        prompts["labels"] = [[point[2] if len(point) == 3 else 1 for point in points]]
    if box is not None:
        prompts["boxes"] = [box]
    return prompts


def _write(files: dict[str, Path], *, image: Path, photo, points, box, prediction, checkpoint: str) -> None:
    from PIL import Image

    from samjax.data.rle import encode
    from samjax.predict.overlay import DrawnPrompt, draw_prediction

    files["json"].parent.mkdir(parents=True, exist_ok=True)
    drawn = DrawnPrompt(
        points=[(point[0], point[1], len(point) == 2 or point[2] == 1) for point in points],
        box=None if box is None else (box[0], box[1], box[2], box[3]),
    )
    masks, iou = prediction.masks[0], prediction.iou[0]
    Image.fromarray(draw_prediction(photo, masks, iou, drawn)).save(files["overlay"])
    said = []
    for k, mask in enumerate(masks):
        Image.fromarray(mask).save(files[str(k)])
        said.append(
            {
                "file_name": files[str(k)].name,
                "segmentation": encode(mask),
                "area": int(mask.sum()),
                "predicted_iou": float(iou[k]),
            }
        )
    files["json"].write_text(
        json.dumps(
            {
                "image": {"file_name": image.name, "width": photo.shape[1], "height": photo.shape[0]},
                "checkpoint": checkpoint,
                "prompts": {
                    "points": [point[:2] for point in points],
                    "labels": [int(point[2]) if len(point) == 3 else 1 for point in points],
                    "box": box,
                },
                "masks": said,
            },
            indent=2,
        )
        + "\n"
    )
