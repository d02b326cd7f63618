"""Photos as the released model was given them: against PIL, to the last step of a uint8.

`tests/parity/test_prediction.py` compares the same photos with a public processor's.
"""

import io

import numpy as np
import pytest
from PIL import Image

from samjax.core.errors import UserError
from samjax.predict.promptable.photo_input import fit_photo, read_photo, to_frame

FRAME = (1024, 1024)


def changed(photo: Image.Image, index: int) -> tuple[Image.Image, str, dict]:
    """Return a photo as one of the kinds there are, its file name and how it is saved."""
    exif = Image.Exif()
    exif[0x0112] = 1 + index % 8
    match index % 5:
        case 0:
            return photo, "photo.jpg", {"quality": 92, "exif": exif}
        case 1:
            return photo.convert("L"), "grey.jpg", {"exif": exif}
        case 2:
            return photo.convert("CMYK"), "cmyk.jpg", {}
        case 3:
            alpha = Image.fromarray(np.arange(photo.width * photo.height, dtype=np.uint8).reshape(photo.size[::-1]))
            photo.putalpha(alpha)
            return photo, "alpha.png", {}
        case _:
            return photo.convert("P"), "palette.png", {}


def test_fifty_photos_of_every_kind(jpegs, tmp_path):
    for index, jpeg in enumerate(jpegs):
        picture, name, options = changed(Image.open(io.BytesIO(jpeg)), index)
        picture.save(tmp_path / name, **options)
        with Image.open(tmp_path / name) as stored:
            turn = stored.getexif().get(0x0112, 1)
            upright = np.array(stored.convert("RGB"))
        upright = {
            1: lambda x: x,
            2: lambda x: x[:, ::-1],
            3: lambda x: x[::-1, ::-1],
            4: lambda x: x[::-1],
            5: lambda x: x.swapaxes(0, 1),
            6: lambda x: x[::-1].swapaxes(0, 1),
            7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
            8: lambda x: x.swapaxes(0, 1)[::-1],
        }[turn](upright)
        photo = read_photo(tmp_path / name)
        np.testing.assert_array_equal(photo, upright, err_msg=f"{name}, turn {turn}")
        framed, (height, width) = fit_photo(photo, FRAME)
        expected = Image.fromarray(upright).resize((width, height), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(framed[:height, :width], np.asarray(expected), err_msg=name)


@pytest.mark.parametrize(
    ("size", "fitted"), [((6000, 8000), (768, 1024)), ((5000, 1), (1024, 1)), ((1, 1), (1024, 1024))]
)
def test_the_largest_and_the_thinnest(size, fitted):
    """The release gives a photo of 1 x 5000 no pixels at all; here it keeps one."""
    photo = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    framed, found = fit_photo(photo, FRAME)
    assert found == fitted
    resized = Image.fromarray(photo).resize(fitted[::-1], Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(framed[: fitted[0], : fitted[1]], np.asarray(resized))
    assert not framed[fitted[0] :].any()
    assert not framed[:, fitted[1] :].any()


def test_grey_of_sixteen_bits_keeps_its_upper_eight(tmp_path):
    deep = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(read_photo(tmp_path / "deep.png"), np.repeat((deep >> 8)[..., None], 3, axis=2))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "no such file"),
        (b"", "is not a picture"),
        (b"hello", "is not a picture"),
        ("cut", "cannot be read"),
        ("bomb", "more than 67,108,864 in all"),
    ],
)
def test_what_is_no_photo_is_one_sentence(content, sentence, jpegs, tmp_path):
    path = tmp_path / "mine.jpg"
    if content == "cut":
        path.write_bytes(jpegs[0][: len(jpegs[0]) // 2])
    elif content == "bomb":  # nine kilobytes of 72 million pixels
        Image.new("1", (9_000, 8_000)).save(tmp_path / "bomb.png")
        path = tmp_path / "bomb.png"
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=sentence) as error:
        read_photo(path)
    assert str(path) in str(error.value)


def test_places_go_with_the_photo():
    """By the rounded size, as the release does: 683 / 1500 and 1024 / 2250 differ."""
    placed = to_frame(np.array([[2250.0, 1500.0], [1.0, 1.0]]), photo=(1500, 2250), fitted=(683, 1024))
    np.testing.assert_allclose(placed, [[1024, 683], [1024 / 2250, 683 / 1500]])
