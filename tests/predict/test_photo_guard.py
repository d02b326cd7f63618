"""Photos that a caller gives: the same are taken, and refused by the same sentence, at every door."""

import jax
import numpy as np
import pytest
from helpers.made_pictures import RGB, png
from PIL import Image

from samjax.core.errors import UserError
from samjax.data.photo import read_photo
from samjax.predict.automatic.generator import MaskGenerator
from samjax.predict.engine import Engine
from samjax.predict.promptable.photo_input import as_photos
from samjax.predict.promptable.predictor import Predictor

PHOTO = np.random.default_rng(0).integers(0, 256, (6, 10, 3), dtype=np.uint8)
EXPECTED = r"expected RGB: uint8 of shape \(h, w, 3\), a picture of PIL's or a path"
GIVE_A_LIST = r"expected several photos: give a list, \[image\]"


class Unused(Engine):
    """Photos are looked at before the model is."""

    def __init__(self):
        self.ways = 1


@pytest.fixture(scope="module")
def doors():
    """Whatever takes photos from Python."""
    engine = Unused()
    return as_photos, Predictor(engine).set_images, MaskGenerator(engine).generate


@pytest.mark.parametrize(
    ("photos", "sentence"),
    [
        ([PHOTO, PHOTO[..., 0]], rf"^image 1 is uint8 of shape \(6, 10\), {EXPECTED}$"),
        ([np.dstack([PHOTO, PHOTO[..., 0]])], rf"^image 0 is uint8 of shape \(6, 10, 4\), {EXPECTED}$"),
        ([PHOTO / 255], rf"^image 0 is float64 of shape \(6, 10, 3\), {EXPECTED}$"),
        ([PHOTO.astype(np.int64)], rf"^image 0 is int64 of shape \(6, 10, 3\), {EXPECTED}$"),
        ([PHOTO[:0]], rf"^image 0 is uint8 of shape \(0, 10, 3\), {EXPECTED}$"),
        ([PHOTO.tolist()], rf"^image 0 is of type list, {EXPECTED}$"),
        ([None], rf"^image 0 is of type NoneType, {EXPECTED}$"),
        (np.broadcast_to(PHOTO[:1, :1], (1, 8_200, 8_200, 3)), "^image 0 has 8,200 x 8,200 pixels, more than 67,108,8"),
        (PHOTO, rf"^images is uint8 of shape \(6, 10, 3\), {GIVE_A_LIST}$"),
        (PHOTO[..., 0], rf"^images is uint8 of shape \(6, 10\), {GIVE_A_LIST}$"),
        (Image.fromarray(PHOTO), rf"^images is of type Image, {GIVE_A_LIST}$"),
        ("photo.png", rf"^images is of type str, {GIVE_A_LIST}$"),
        (3, rf"^images is of type int, {GIVE_A_LIST}$"),
        (["none.png"], "^none.png: no such file$"),
    ],
)
def test_what_is_no_photo_is_refused_by_the_same_sentence_everywhere(photos, sentence, doors):
    for door in doors:
        with pytest.raises(UserError, match=sentence):
            door(photos)


def test_arrays_pictures_and_paths_are_taken(tmp_path):
    Image.fromarray(PHOTO).save(tmp_path / "p.png")
    deep = png(PHOTO.astype(int) << 8, bits=16, colour=RGB)
    (tmp_path / "deep.png").write_bytes(deep)
    forms = [PHOTO, jax.numpy.asarray(PHOTO), Image.fromarray(PHOTO), tmp_path / "p.png", str(tmp_path / "deep.png")]
    for form, taken in zip(forms, as_photos(form for form in forms), strict=True):
        np.testing.assert_array_equal(taken, PHOTO, err_msg=str(form))
    np.testing.assert_array_equal(as_photos(np.stack([PHOTO, PHOTO[::-1]])), [PHOTO, PHOTO[::-1]])
    (grey,) = as_photos([Image.fromarray(PHOTO[..., 0])])
    np.testing.assert_array_equal(grey, np.repeat(PHOTO[..., :1], 3, axis=2))


def test_a_path_is_upright_and_a_picture_as_pil_holds_it(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(PHOTO).save(tmp_path / "p.jpg", exif=exif)
    upright, held = as_photos([tmp_path / "p.jpg", Image.open(tmp_path / "p.jpg")])
    np.testing.assert_array_equal(upright, read_photo(tmp_path / "p.jpg"))
    np.testing.assert_array_equal(upright, held[::-1].swapaxes(0, 1))
