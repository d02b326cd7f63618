"""Every kind of picture as RGB of 8 bits: the same from a path, from bytes and upright or not, never clipped."""

import errno
import io
import logging

import numpy as np
import pytest
from broken_photos import BROKEN
from helpers.made_pictures import GREY_ALPHA, RGB, RGB_ALPHA, png, tiff
from PIL import Image
from shards import jpeg

from samjax.core.errors import MachineError, UserError
from samjax.data import photo as photo_module
from samjax.data.masks.rle import MAX_PIXELS
from samjax.data.photo import Orientation, PhotoError, from_picture, open_photo, read_photo, stored_size, turns_quarter

SIZE = (6, 10)


def numbers(most: int, channels: int = 0) -> np.ndarray:
    """Return random numbers up to `most`, which is one of them."""
    found = np.random.default_rng(most).integers(0, most + 1, (*SIZE, channels) if channels else SIZE)
    found[2, 3] = most
    return found


def grey(shades: np.ndarray) -> np.ndarray:
    return np.repeat(shades[..., None], 3, axis=-1)


def saved(pixels: np.ndarray, kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format=kind)
    return file.getvalue()


@pytest.fixture(autouse=True)
def said(monkeypatch, caplog):
    """What is logged; in each test anew."""
    monkeypatch.setattr(photo_module, "_logged", set())
    caplog.set_level(logging.WARNING, logger="samjax")
    return caplog


DEPTHS = [(200, 8), (255, 8), (256, 10), (1023, 10), (1024, 12), (4095, 12), (4096, 14), (16383, 14), (65535, 16)]


@pytest.mark.parametrize(("most", "bits"), DEPTHS)
def test_deep_numbers_keep_the_upper_eight_bits_of_the_depth_that_holds_them(most, bits, said):
    grey_numbers, coloured = numbers(most), numbers(most, 3)
    with_alpha = np.dstack([coloured, np.full(SIZE, 65_535)])
    shift = bits - 8
    files = {
        "PNG": (png(grey_numbers, bits=16), grey(grey_numbers >> shift)),
        "PNG of grey and alpha": (
            png(np.dstack([grey_numbers, np.full(SIZE, 65_535)]), bits=16, colour=GREY_ALPHA),
            grey(grey_numbers >> shift),
        ),
        "PNG of RGB": (png(coloured, bits=16, colour=RGB), coloured >> shift),
        "PNG of RGBA": (png(with_alpha, bits=16, colour=RGB_ALPHA), coloured >> shift),
        "TIFF": (tiff(grey_numbers, bits=16), grey(grey_numbers >> shift)),
        "TIFF whose 0 is white": (tiff(grey_numbers, bits=16, photometric=0), grey(255 - (grey_numbers >> shift))),
        "TIFF of RGB": (tiff(coloured, bits=16, photometric=2), coloured >> shift),
        "TIFF of 32 bits": (saved(grey_numbers.astype(np.int32), "TIFF"), grey(grey_numbers >> shift)),
        "TIFF of whole floats": (saved(grey_numbers.astype(np.float32), "TIFF"), grey(grey_numbers >> shift)),
    }
    for name, (content, expected) in files.items():
        np.testing.assert_array_equal(read_photo(content, name=name), expected, err_msg=name)
    told = [record.getMessage() for record in said.records]
    guess = f"PNG holds numbers up to {most:,} and is read as {bits} bits, {2**bits - 1:,} white"
    assert [one.partition(";")[0] for one in told] == [guess] * (bits < 16), "a guess is said once, no guess never"


def test_compressed_tiffs_are_read_as_plain_ones():
    for most in (1023, 65_535):
        plain = numbers(most)
        file = io.BytesIO()
        Image.fromarray(plain.astype(np.uint16)).save(file, format="TIFF", compression="tiff_adobe_deflate")
        np.testing.assert_array_equal(read_photo(file.getvalue()), grey(plain >> (2 if most == 1023 else 8)))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (png(numbers(300), bits=16, chunks={b"sBIT": bytes([12])}), grey(numbers(300) >> 4)),
        (png(numbers(300), bits=16, chunks={b"sBIT": bytes([16])}), grey(numbers(300) >> 8)),
        (png(numbers(300, 3), bits=16, colour=RGB, chunks={b"sBIT": bytes([11, 12, 10])}), numbers(300, 3) >> 4),
        (png(numbers(9_000), bits=16, chunks={b"sBIT": bytes([12])}), grey(numbers(9_000) >> 8)),
        (tiff(numbers(300), bits=12), grey(numbers(300) >> 4)),
    ],
)
def test_what_the_file_says_of_its_depth_goes_before_its_maximum(content, expected, said):
    np.testing.assert_array_equal(read_photo(content), expected)
    assert not said.records


def test_floats_from_0_to_1_are_black_to_white():
    floats = numbers(1000).astype(np.float32) / 1000
    np.testing.assert_array_equal(read_photo(saved(floats, "TIFF")), grey(np.rint(255 * floats)))
    np.testing.assert_array_equal(read_photo(saved((floats > 0.5).astype(np.float32), "TIFF")).max(), 255)


@pytest.mark.parametrize(
    ("pixels", "sentence"),
    [
        (
            numbers(1000).astype(np.int32) - 500,
            r"whole numbers from -\d+ to 500: expected whole numbers from 0",
        ),
        (numbers(70_000).astype(np.int32), r"whole numbers from \d+ to 70000: expected"),
        (numbers(100).astype(np.float32) + 0.5, r"floats from \d*\.5 to 100.5: expected .* or floats from 0 to 1"),
        (numbers(100).astype(np.float32) / 100 - 0.2, r"floats from -0.\d+ to 0.8: expected"),
        (np.where(numbers(2) == 2, np.nan, 0).astype(np.float32), "NaN or infinity"),
        (np.where(numbers(2) == 2, np.inf, 0).astype(np.float32), "NaN or infinity"),
    ],
)
def test_what_is_no_shade_is_refused_and_never_clipped(pixels, sentence, tmp_path):
    (tmp_path / "deep.tif").write_bytes(saved(pixels, "TIFF"))
    for orientation in Orientation:
        with pytest.raises(UserError, match=f"deep.tif holds {sentence}"):
            read_photo(tmp_path / "deep.tif", orientation=orientation)


def test_colours_of_16_bits_in_planes_are_refused():
    """PIL takes the wrong half of their bytes."""
    with pytest.raises(UserError, match=r"x.tif is a TIFF that stores each colour apart with 16 bits"):
        read_photo(tiff(numbers(4000, 3), bits=16, photometric=2, planes=True), name="x.tif")
    coloured = numbers(200, 3)
    eight = read_photo(tiff(coloured, bits=8, photometric=2, planes=True))
    np.testing.assert_array_equal(eight, coloured)


@pytest.mark.parametrize("channels", [2, 5])
def test_a_tiff_of_many_channels_is_named_as_such(channels):
    with pytest.raises(UserError, match=r"x.tif is a TIFF of a kind that PIL does not read, such as one of several"):
        read_photo(tiff(numbers(200, channels), bits=16), name="x.tif")


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_few_bits_of_grey_reach_white(bits):
    shades = numbers(2**bits - 1)
    np.testing.assert_array_equal(read_photo(png(shades, bits=bits)), grey(shades * 255 // (2**bits - 1)))


def test_colours_under_alpha_are_read_and_that_is_said(said):
    pixels = np.dstack([numbers(255, 3), np.full(SIZE, 255)]).astype(np.uint8)
    np.testing.assert_array_equal(read_photo(saved(pixels, "PNG")), pixels[..., :3])
    assert not said.records
    pixels[1, 1, 3] = 0
    np.testing.assert_array_equal(read_photo(saved(pixels, "PNG"), name="a.png"), pixels[..., :3])
    np.testing.assert_array_equal(read_photo(saved(pixels, "PNG"), name="b.png"), pixels[..., :3])
    (one,) = said.records
    assert one.getMessage().startswith("a.png has transparent pixels: alpha is dropped")


def test_a_palette_with_transparency_is_read():
    picture = Image.fromarray(numbers(3).astype(np.uint8)).convert("P")
    file = io.BytesIO()
    picture.save(file, format="PNG", transparency=bytes([0, 100, 255, 255]))
    np.testing.assert_array_equal(read_photo(file.getvalue()), np.asarray(picture.convert("RGB")))


def test_of_a_stack_the_first_picture_is_read_and_that_is_said(said):
    np.testing.assert_array_equal(read_photo(tiff(numbers(255), bits=8, pictures=3)), grey(numbers(255)))
    (one,) = said.records
    assert "holds several pictures, of which the first is read" in one.getMessage()


def test_a_pointer_of_git_lfs_is_named_as_such(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 34\n")
    with pytest.raises(UserError, match=r"a\.jpg is a Git LFS pointer.*git lfs pull"):
        read_photo(path)


def turned_jpeg(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.open(io.BytesIO(jpeg(20, 30))).save(file, format="JPEG", quality=95, exif=exif)
    return file.getvalue()


def test_a_photo_is_upright_or_as_stored(tmp_path):
    (tmp_path / "p.jpg").write_bytes(turned_jpeg(6))
    stored = read_photo(tmp_path / "p.jpg", orientation=Orientation.STORED, size=(20, 30))
    assert stored_size(tmp_path / "p.jpg") == stored.shape[:2] == (20, 30)
    np.testing.assert_array_equal(read_photo(tmp_path / "p.jpg"), stored[::-1].swapaxes(0, 1))
    np.testing.assert_array_equal(from_picture(Image.open(tmp_path / "p.jpg"), name="p"), stored)


def test_another_size_is_told_with_both_and_with_what_turns_it():
    with pytest.raises(UserError, match=r"^p is 30 x 20, its annotations say 31 x 20$"):
        read_photo(jpeg(20, 30), name="p", size=(20, 31))
    assert [turns_quarter(turned_jpeg(orientation)) for orientation in range(1, 9)] == [False] * 4 + [True] * 4
    with pytest.raises(UserError, match=r"p is 30 x 20 as stored \(a viewer turns it, as EXIF says\), its .* 20 x 30"):
        read_photo(turned_jpeg(6), name="p", size=(30, 20))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"hello", "x is not a picture that PIL can read"),
        (jpeg(200, 300)[:2000], "x cannot be read: "),
        (png(np.zeros((2, 2)), bits=16, colour=RGB_ALPHA)[:60], "x cannot be read: "),
    ],
)
def test_what_is_no_picture_is_one_sentence(content, sentence):
    with pytest.raises(UserError, match=sentence):
        read_photo(content, name="x")


def test_a_huge_picture_is_not_decoded(tmp_path):
    for side in (8_200, 9_600, 14_000):  # PIL warns of the second and refuses the third
        Image.new("1", (side, side)).save(tmp_path / "x.png")
        with pytest.raises(UserError, match=rf"x.png has .*more than {MAX_PIXELS:,}"):
            read_photo(tmp_path / "x.png")


def test_faults_of_paths_are_the_photos_and_faults_of_the_machine_are_not(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"none.jpg: no such file"):
        read_photo(tmp_path / "none.jpg")
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        stored_size(tmp_path)

    def out_of_descriptors(*_):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("builtins.open", out_of_descriptors)
    for read in (read_photo, stored_size):
        with pytest.raises(MachineError, match=r"none.jpg cannot be read \(Too many open files"):
            read(tmp_path / "none.jpg")


def test_pictures_of_pil_follow_the_same_rule():
    deep = Image.fromarray(numbers(4000).astype(np.uint16))
    np.testing.assert_array_equal(from_picture(deep, name="x"), grey(numbers(4000) >> 4))
    with pytest.raises(UserError, match="x holds floats"):
        from_picture(Image.fromarray(numbers(4000).astype(np.float32) + 0.5), name="x")
    with pytest.raises(UserError, match="x has 16 bits a channel, of which PIL keeps 8: give its path"):
        from_picture(Image.open(io.BytesIO(png(numbers(4000, 3), bits=16, colour=RGB))), name="x")


# JPEGs of records


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_other_colour_modes_become_rgb(mode):
    photo = open_photo(jpeg(20, 30, mode=mode), height=20, width=30)
    assert photo.mode == "RGB"
    assert photo.size == (30, 20)


@pytest.mark.parametrize(("data", "height", "width", "says"), BROKEN)
def test_a_broken_photo_is_refused_with_the_reason(data, height, width, says):
    with pytest.raises(PhotoError, match=says):
        open_photo(data, height=height, width=width)
