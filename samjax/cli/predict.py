"""`samjax predict`: masks of objects in a photo."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from samjax.cli.arguments import refuse_more
from samjax.core.errors import UserError
from samjax.core.files import tell_write_errors
from samjax.core.folder import check_can_write

_DESCRIPTION = """\
Predict masks of objects in a photo from points, a box or both. Coordinates are pixels of the photo as a viewer shows
it, x from the left and y from the top. Points and one box together prompt one object; several boxes without points are
one object each; to give several objects points, put --object before each object's prompts. A single point or box is
ambiguous and gets three masks; an object with more than one prompt gets one. Writes each mask as a PNG, and for each
object an overlay of its masks on the photo and a JSON with their RLE."""


@dataclass(kw_only=True)
class _Object:
    """The prompts of one object, as typed."""

    points: list[list[float]] = field(default_factory=list)
    boxes: list[list[float]] = field(default_factory=list)

    @property
    def box(self) -> list[float] | None:
        return self.boxes[0] if self.boxes else None

    @property
    def labels(self) -> list[float]:
        return [point[2] if len(point) == 3 else 1.0 for point in self.points]

    def as_json(self) -> dict[str, Any]:
        """Return the prompts as they are written beside the masks."""
        points = [point[:2] for point in self.points]
        return {"points": points, "labels": [int(label) for label in self.labels], "box": self.box}

    def masks(self, wanted: int | None) -> int:
        """Return how many masks it gets."""
        return wanted or (3 if len(self.points) + len(self.boxes) == 1 else 1)


class _Prompt(argparse.Action):
    """Keep the prompts of all options in the order they were typed."""

    def __call__(self, parser, namespace, values, option=None) -> None:
        setattr(namespace, self.dest, [*getattr(namespace, self.dest), (option, values)])


def add_parser(commands, name: str) -> None:
    """Add `samjax predict`."""
    parser = commands.add_parser(name, help="masks for prompts on a photo", description=_DESCRIPTION)
    parser.add_argument("--checkpoint", required=True, metavar="C", help="a run's workdir, a checkpoint, or weights")
    parser.add_argument("--image", required=True, metavar="FILE", help="a JPEG, PNG or other picture")
    for option, metavar, text in (
        ("--point", "X,Y[,0]", "a point on the object, or with ,0 a point outside it; may be repeated"),
        ("--box", "X0,Y0,X1,Y1", "the object's box; repeat it without points for further objects"),
    ):
        parser.add_argument(option, dest="prompts", action=_Prompt, default=[], metavar=metavar, help=text)
    parser.add_argument(
        "--object",
        dest="prompts",
        action=_Prompt,
        nargs=0,
        help="start a new object: the points and the box that follow belong to it",
    )
    parser.add_argument(
        "--masks", type=int, choices=(1, 3), help="masks per object (default: 3 for a single prompt, else 1)"
    )
    parser.add_argument(
        "--last-step", action="store_true", help="use the last step's parameters, not the average of a run with --ema"
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write")
    parser.set_defaults(run=_run)


def _run(known: argparse.Namespace, rest: list[str]) -> int:
    refuse_more(rest, "predict")
    objects = _objects(known.prompts)
    image, out = Path(known.image), Path(known.out)
    files = [
        _files(out, image.stem if len(objects) == 1 else f"{image.stem}_object{n}", one.masks(known.masks))
        for n, one in enumerate(objects, 1)
    ]
    existing = [path for of_object in files for path in of_object.values() if path.exists()]
    if existing:
        raise UserError(f"{existing[0]} exists already, and nothing is overwritten: give another --out")
    check_can_write(out)

    from samjax.predict.promptable.photo_input import read_photo
    from samjax.predict.promptable.predictor import Predictor
    from samjax.predict.promptable.prompt_arrays import photo_prompts

    photo = read_photo(image)
    size = photo.shape[:2]
    prompts = _prompts(objects)
    photo_prompts(**prompts, mask_logits=None, photo=size, fitted=size, logits_size=(0, 0))  # before minutes of reading
    predictor = Predictor.from_checkpoint(known.checkpoint, average=not known.last_step)
    predictor.set_image(photo)
    with tell_write_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        for place, (masks, iou) in enumerate(_predict(predictor, objects, known.masks)):
            about = {
                "image": {"file_name": image.name, "width": photo.shape[1], "height": photo.shape[0]},
                "checkpoint": known.checkpoint,
                "prompts": objects[place].as_json(),
            }
            _write(files[place], photo=photo, prompted=objects[place], masks=masks, iou=iou, about=about)
            for k, mask in enumerate(masks):
                print(f"{files[place][str(k)]}: predicted IoU {iou[k]:.3f}, {mask.sum():,} pixels")
            print(f"{files[place]['overlay']}\n{files[place]['json']}")
    return 0


def _objects(typed: Sequence[tuple[str, Any]]) -> list[_Object]:
    """Return the prompted objects.

    Raises:
      UserError: there is none, one is without a prompt or has several boxes, or a prompt is not the numbers it must be.
    """
    if not typed:
        raise UserError("there is no prompt: give --point X,Y or --box X0,Y0,X1,Y1")
    objects = [_Object()]
    separated = any(option == "--object" for option, _ in typed)
    for option, text in typed:
        if option == "--object":
            objects.append(_Object())
        elif option == "--point":
            objects[-1].points.append(_numbers(text, "--point", (2, 3)))
        else:
            objects[-1].boxes.append(_numbers(text, "--box", (4,)))
    if separated and objects[0] == _Object():
        del objects[0]
    if not separated and not objects[0].points:
        return [_Object(boxes=[box]) for box in objects[0].boxes]
    for number, one in enumerate(objects, 1):
        where = f"object {number}" if separated else "the object with --point"
        if one == _Object():
            raise UserError(f"{where} has no prompt: give --point X,Y or --box X0,Y0,X1,Y1 after each --object")
        if len(one.boxes) > 1:
            raise UserError(f"{where} has {len(one.boxes)} boxes: give --object before the prompts of each object")
    return objects


def _numbers(text: str, option: str, lengths: tuple[int, ...]) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in lengths:
        raise UserError(f"{option} {text}: expected {' or '.join(str(n) for n in lengths)} numbers with commas between")
    return numbers


def _prompts(objects: Sequence[_Object]) -> dict[str, Any]:
    """Return them as `Predictor.predict` takes them."""
    points = [[point[:2] for point in one.points] for one in objects]
    boxes = [one.box for one in objects]
    return {
        "points": points if any(points) else None,
        "labels": [one.labels for one in objects] if any(points) else None,
        "boxes": boxes if any(boxes) else None,
    }


def _predict(predictor, objects: Sequence[_Object], wanted: int | None) -> list[tuple[Any, Any]]:
    """Return masks and predicted IoUs of each object; objects with equally many masks are predicted together."""
    found: list[tuple[Any, Any]] = [(None, None)] * len(objects)
    for count in (1, 3):
        places = [place for place, one in enumerate(objects) if one.masks(wanted) == count]
        if places:
            answer = predictor.predict(**_prompts([objects[place] for place in places]), multimask=count == 3)
            for m, place in enumerate(places):
                found[place] = answer.masks[m], answer.iou[m]
    return found


def _files(out: Path, stem: str, count: int) -> dict[str, Path]:
    return {
        "json": out / f"{stem}.json",
        "overlay": out / f"{stem}_overlay.png",
        **{str(k): out / f"{stem}_mask{k + 1}.png" for k in range(count)},
    }


def _write(files: dict[str, Path], *, photo, prompted: _Object, masks, iou, about: dict[str, Any]) -> None:
    from samjax.core.files import write_png, write_whole
    from samjax.data.masks.rle import encode
    from samjax.pictures.prediction_sheet import DrawnPrompt, draw_prediction

    box, labels = prompted.box, prompted.labels
    drawn = DrawnPrompt(
        points=[(point[0], point[1], label == 1) for point, label in zip(prompted.points, labels, strict=True)],
        box=None if box is None else (box[0], box[1], box[2], box[3]),
    )
    write_png(files["overlay"], draw_prediction(photo, masks, iou, drawn))
    entries = []
    for k, mask in enumerate(masks):
        write_png(files[str(k)], mask)
        entries.append(
            {
                "file_name": files[str(k)].name,
                "segmentation": encode(mask),
                "area": int(mask.sum()),
                "predicted_iou": float(iou[k]),
            }
        )
    write_whole(files["json"], json.dumps({**about, "masks": entries}, indent=2) + "\n")
