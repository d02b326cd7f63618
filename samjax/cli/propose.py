"""`samjax propose`: masks of the model for people to accept or reject in `samjax annotate`."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath

from samjax.cli.generate import settings_for
from samjax.cli.progress_bar import progress
from samjax.core.errors import UserError
from samjax.core.folder import check_can_write
from samjax.predict.automatic.generator_config import GeneratorConfig

_DESCRIPTION = """\
Write the model's masks as proposals into DIR, for samjax annotate --mode prefill or review: of its own grid of points,
as samjax generate finds them, or of a detector's boxes. Run the same command again to resume: photos that have
proposals are passed over. Every setting of samjax generate is a flag here too; kept are masks of a predicted IoU above
--pred-iou-threshold 0.88 and a stability of at least --stability-threshold 0.95."""


def add_parser(commands, name: str) -> None:
    """Add `samjax propose`."""
    parser = commands.add_parser(
        name, help="masks of the model for people to accept or reject", description=_DESCRIPTION
    )
    parser.add_argument("--checkpoint", required=True, metavar="C", help="a run's workdir, a checkpoint, or weights")
    parser.add_argument(
        "--images",
        required=True,
        action="extend",
        nargs="+",
        metavar="PATH",
        help="photos, tars of photos, or quoted patterns of either; or a folder made by samjax data prepare",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="the folder of samjax annotate")
    parser.add_argument(
        "--detections", metavar="JSON", help="a detector's boxes, as COCO's results JSON holds them, in place of a grid"
    )
    parser.add_argument(
        "--annotations", metavar="JSON", help="COCO's JSON whose images --detections are of; it may have no annotations"
    )
    parser.add_argument("--settings", metavar="FILE", help="the generator.json that samjax generate --tune wrote")
    parser.add_argument(
        "--allow-missing",
        action="store_true",
        help="skip and count detections that cannot be used",
    )
    parser.set_defaults(run=_run)


def _run(known: argparse.Namespace, rest: list[str]) -> int:
    from samjax.annotate.annotation_folder import open_annotations
    from samjax.annotate.photo_list import open_photos
    from samjax.checkpoint.weights import find_checkpoint
    from samjax.cli.train import override
    from samjax.predict.engine import Engine

    if (known.detections is None) != (known.annotations is None):
        raise UserError("--detections and --annotations go together: the second says which photo an image_id is")
    checkpoint = str(find_checkpoint(known.checkpoint))
    config = override(settings_for(checkpoint, given=known.settings), rest, command="propose")
    photos = open_photos(known.images, known.out)
    for sentence in photos.unreadable:
        print(f"skipped: {sentence}", flush=True)
    boxes = None if known.detections is None else _boxes(known, {photos[id].path.name: id for id in photos})
    check_can_write(known.out)
    engine = Engine.from_checkpoint(checkpoint)
    with open_annotations(known.out, photos, {}) as folder:
        todo = [id for id in photos if not folder.progress.photo(id).proposals]
        if len(todo) < len(photos):
            print(f"{known.out} has proposals for {len(photos) - len(todo):,} of {len(photos):,} photos", flush=True)
        _propose(folder, todo, engine, config, boxes, model=known.checkpoint)
    return 0


def _propose(
    folder, todo: Sequence[int], engine, config: GeneratorConfig, boxes: Mapping | None, *, model: str
) -> None:
    """Propose for the photos of `todo`, and print how much.

    Raises:
      UserError: some photos cannot be read; all others are done.
    """
    from samjax.annotate.proposing import propose_from_boxes, propose_from_grid
    from samjax.annotate.saved_mask import model_label
    from samjax.cli.mask_generation import Outcome
    from samjax.predict.automatic.generator import MaskGenerator

    generator = MaskGenerator(engine, config)
    name = model_label(model, engine.digest())
    outcome = Outcome()
    with progress("photos", total=len(todo)) as bar:
        for id in todo:
            try:
                jpeg = folder.jpeg(id)
                if boxes is None:
                    found = propose_from_grid(generator, jpeg)
                else:
                    found = propose_from_boxes(engine, folder.photos[id], jpeg, boxes.get(id, ()), config=config)
            except UserError as error:
                outcome.unreadable[str(id)] = str(error)
            else:
                folder.set_proposals(id, found, model=name)
                outcome.photos += 1
                outcome.masks += len(found)
            bar(1)
    print(f"{outcome.masks:,} proposals on {outcome.photos:,} photos: {folder.path}", flush=True)
    if outcome.unreadable:
        raise UserError(outcome.unreadable_sentence())


def _boxes(known: argparse.Namespace, ids: Mapping[str, int]) -> dict[int, list[tuple[float, float, float, float]]]:
    """Return a detector's boxes by the photo's id, the highest score first; print how many are left out.

    Raises:
      UserError: a JSON cannot be read, an image is not among the photos, or a box cannot be used.
    """
    from samjax.data.annotations.annotation_json import is_whole, read_lists
    from samjax.data.annotations.dataset import Photo
    from samjax.eval.protocols.instances.detections import read_detections

    content = read_lists(Path(known.annotations).expanduser())
    of_image, photos = {}, []
    for image in content["images"]:
        fields = [image.get(name) for name in ("id", "height", "width")]
        if not all(map(is_whole, fields)) or not isinstance(image.get("file_name"), str):
            raise UserError(f"{known.annotations}: an image has no id, file_name, height and width: {image!r:.100}")
        number, height, width = fields
        if (id := ids.get(PurePath(image["file_name"]).name)) is not None:
            of_image[number] = id
            photos.append(
                Photo(id=number, name=image["file_name"], height=height, width=width, instances=(), read=_not_read)
            )
    if not photos:
        raise UserError(f"no image of {known.annotations} is among --images: their files have other names")
    categories = {one.get("id"): one for one in content["categories"]}
    detections, left_out = read_detections(
        known.detections, photos=photos, categories=categories, allow_missing=known.allow_missing
    )
    for why, number in left_out.items():
        print(f"{number:,} {why}: left out", flush=True)
    found = {}
    by_image = {photo.id: photo for photo in photos}
    for image, those in detections.items():
        ordered = sorted(those, key=lambda one: -one.score)
        found[of_image[image]] = [corners for one in ordered if (corners := one.corners(by_image[image]))]
    return found


def _not_read():
    raise NotImplementedError("only the sizes of these photos are used")
