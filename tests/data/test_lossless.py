"""Photos of every kind are stored so that a record holds the pixels that evaluations read."""

import io

import numpy as np
import pytest
from helpers.made_pictures import GREY_ALPHA, RGB, RGB_ALPHA, png, tiff
from PIL import Image
from shards import jpeg

from data_pipelines.lossless import store_photo
from samjax.data.photo import Orientation, PhotoError, open_photo, read_photo

HEIGHT, WIDTH = 20, 30
SIZE = {"height": HEIGHT, "width": WIDTH}


def numbers(channels=None, *, bits=8, seed=0):
    shape = (HEIGHT, WIDTH) if channels is None else (HEIGHT, WIDTH, channels)
    return np.random.default_rng(seed).integers(0, 2**bits, shape, np.uint8 if bits <= 8 else np.uint16)


def saved(picture, kind="PNG", **options):
    file = io.BytesIO()
    picture.save(file, format=kind, **options)
    return file.getvalue()


def turned(content, orientation=6):
    with Image.open(io.BytesIO(content)) as picture:
        exif = picture.getexif()
        exif[0x0112] = orientation
        return saved(picture, "JPEG", exif=exif)


COLOUR = Image.fromarray(numbers(3))
GREY_PICTURE = Image.fromarray(numbers())
KEPT = {
    "JPEG": jpeg(HEIGHT, WIDTH),
    "grey JPEG": jpeg(HEIGHT, WIDTH, mode="L"),
    "CMYK JPEG": jpeg(HEIGHT, WIDTH, mode="CMYK"),
    "RGB PNG": png(numbers(3), bits=8, colour=RGB),
    "grey PNG": png(numbers(), bits=8),
}
STORED_AGAIN = {
    "turned JPEG": (turned(jpeg(HEIGHT, WIDTH)), ("turned by EXIF",)),
    "RGBA": (png(numbers(4), bits=8, colour=RGB_ALPHA), ("alpha dropped",)),
    "grey and alpha": (png(numbers(2), bits=8, colour=GREY_ALPHA), ("alpha dropped",)),
    "a transparent grey": (png(numbers(), bits=8, chunks={b"tRNS": b"\0\7"}), ("alpha dropped",)),
    "palette": (saved(COLOUR.quantize(16)), ("palette",)),
    "transparent palette": (saved(COLOUR.quantize(16), transparency=3), ("palette", "alpha dropped")),
    "bilevel": (png(numbers(bits=1), bits=1), ("1 bit",)),
    "four bits": (png(numbers(bits=4), bits=4), ("4 bits",)),
    "deep grey": (png(numbers(bits=16), bits=16), ("16 bits",)),
    "twelve bits": (png(numbers(bits=12), bits=16), ("16 bits",)),
    "deep colour": (png(numbers(3, bits=16), bits=16, colour=RGB), ("16 bits",)),
    "deep colour and alpha": (png(numbers(4, bits=16), bits=16, colour=RGB_ALPHA), ("16 bits", "alpha dropped")),
    "TIFF": (tiff(numbers(), bits=8), ("TIFF",)),
    "deep TIFF": (tiff(numbers(bits=16), bits=16), ("TIFF",)),
    "TIFF of twelve bits": (tiff(numbers(bits=12), bits=12), ("TIFF",)),
    "TIFF of white zeros": (tiff(numbers(), bits=8, photometric=0), ("TIFF",)),
    "a stack": (tiff(numbers(bits=16), bits=16, pictures=3), ("TIFF",)),
    "floats": (saved(Image.fromarray(np.float32(numbers()) / 255), "TIFF"), ("TIFF",)),
    "WEBP": (saved(COLOUR, "WEBP", lossless=True), ("WEBP",)),
    "BMP": (saved(COLOUR, "BMP"), ("BMP",)),
    "animation": (saved(COLOUR, save_all=True, append_images=[GREY_PICTURE.convert("RGB")]), ("several pictures",)),
}


def is_what_evaluations_read(content, stored):
    found = np.asarray(open_photo(stored, **SIZE))
    np.testing.assert_array_equal(found, read_photo(content, orientation=Orientation.STORED))


@pytest.mark.parametrize("content", KEPT.values(), ids=KEPT)
def test_a_jpeg_and_a_plain_png_keep_their_bytes(content):
    stored = store_photo(content, **SIZE, name="x")
    assert stored == (content, ())
    is_what_evaluations_read(content, stored.content)


@pytest.mark.parametrize(("content", "reasons"), STORED_AGAIN.values(), ids=STORED_AGAIN)
def test_everything_else_is_stored_without_loss(content, reasons):
    stored = store_photo(content, **SIZE, name="x")
    assert stored.changes == reasons
    is_what_evaluations_read(content, stored.content)
    with Image.open(io.BytesIO(stored.content)) as picture:
        assert picture.format == "PNG"
        assert picture.getexif().get(0x0112) is None


def test_what_has_no_colour_is_stored_as_one_channel():
    with Image.open(io.BytesIO(store_photo(STORED_AGAIN["deep grey"][0], **SIZE, name="x").content)) as picture:
        assert picture.mode == "L"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"no picture", "not a picture"),
        (KEPT["JPEG"][:-2], "cut short"),
        (KEPT["RGB PNG"][: len(KEPT["RGB PNG"]) // 2], "PNG cannot be decoded"),
        (STORED_AGAIN["deep grey"][0][:200], "cannot be read"),
        (STORED_AGAIN["TIFF"][0][:200], "not a picture"),
        (jpeg(HEIGHT + 1, WIDTH), "21 x 30"),
        (png(numbers(3)[:-1], bits=8, colour=RGB), "19 x 30"),
        (tiff(numbers()[:-1], bits=8), "30 x 19"),
        (saved(Image.fromarray(np.full((HEIGHT, WIDTH), np.nan, np.float32)), "TIFF"), "NaN"),
    ],
)
def test_what_is_broken_or_of_another_size_says_so(content, says):
    with pytest.raises(PhotoError, match=says):
        store_photo(content, **SIZE, name="x")
