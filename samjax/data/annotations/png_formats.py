"""Formats whose masks are PNGs, opened by their names."""

from samjax.core.errors import UserError
from samjax.data.annotations.formats import Format, FormatOptions
from samjax.data.annotations.images import ImageStore
from samjax.data.annotations.instance_pngs import open_instance_pngs
from samjax.data.annotations.label_maps import open_label_maps
from samjax.data.annotations.lazy_dataset import LazyDataset
from samjax.data.annotations.panoptic import open_panoptic


def open_png_format(
    path: str, *, format: Format, images: ImageStore | None, name: str, options: FormatOptions
) -> LazyDataset:
    """List the masks at `path`, see the reader of `format`: LABEL_MAPS, PANOPTIC or INSTANCE_PNGS.

    Raises:
      UserError: no `images` where the format needs them, or what its reader says.
    """
    if format is Format.INSTANCE_PNGS:
        return open_instance_pngs(path, images=images, name=name, options=options)
    photos = needed_images(path, images)
    if format is Format.PANOPTIC:
        return open_panoptic(path, images=photos, name=name, options=options)
    assert format is Format.LABEL_MAPS, f"{format} has no PNGs"
    return open_label_maps(path, images=photos, name=name, options=options)


def needed_images(path: str, images: ImageStore | None) -> ImageStore:
    """Return `images`.

    Raises:
      UserError: there are none, and the annotations at `path` hold no photos.
    """
    if images is None:
        raise UserError(f"{path} holds no photos: give their folder with --images")
    return images
