"""A PNG's numbers are those of its file, and no channel is dropped unseen."""

import errno
import io

import numpy as np
import pytest
from dataset_files import SIZE, label_map, write_photo
from helpers.made_pictures import GREY, GREY_ALPHA, RGB, RGB_ALPHA, png, tiff
from PIL import Image

from samjax.core.errors import MachineError, UserError
from samjax.data.annotations.formats import FormatOptions
from samjax.data.annotations.images import ImageFolder
from samjax.data.annotations.instance_pngs import open_instance_pngs
from samjax.data.annotations.label_maps import open_label_maps
from samjax.data.annotations.pngs import PngError, read_colours, read_mask, read_values
from samjax.data.masks import rle
from samjax.data.photo import Orientation, read_photo

NOTHING, ALL = np.zeros(SIZE, int), np.full(SIZE, 255)
INSIDE = label_map((1,)) > 0
MASK = np.where(INSIDE, 255, 0)
OTHER = np.roll(MASK, 3, axis=1)
PATTERN = np.arange(SIZE[0] * SIZE[1]).reshape(SIZE) % 251 + 1


@pytest.fixture
def file(tmp_path):
    """Writes bytes to one path."""

    def write(content: bytes):
        (tmp_path / "a.png").write_bytes(content)
        return tmp_path / "a.png"

    return write


KINDS = {"grey": (1, 2, 4, 8, 16), "transparent": (1, 2, 4, 8, 16), "alpha": (8, 16), "palette": (1, 2, 4, 8)}


@pytest.mark.parametrize(("kind", "bits"), [(kind, bits) for kind, all_bits in KINDS.items() for bits in all_bits])
def test_values_are_the_files_numbers(bits, kind, file):
    numbers = np.random.default_rng(bits).integers(0, min(2**bits, 70_000), SIZE)
    match kind:
        case "grey":
            content = png(numbers, bits=bits)
        case "transparent":  # one number is not shown
            content = png(numbers, bits=bits, chunks={b"tRNS": bytes([0, 1])})
        case "alpha":
            content = png(np.dstack([numbers, np.full(SIZE, 2**bits - 1)]), bits=bits, colour=GREY_ALPHA)
        case _:
            content = png(numbers, bits=bits, colour=3, chunks={b"PLTE": bytes(range(256)) * 3})
    values = read_values(file(content))
    assert values.dtype == np.int32
    np.testing.assert_array_equal(values, numbers)


def test_label_maps_of_few_bits_keep_their_classes_and_numbers(tmp_path):
    write_photo(tmp_path / "photos/a.jpg")
    drawn = label_map((1, 2, 3))
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps/a.png").write_bytes(png(drawn, bits=2))
    options = FormatOptions(background=0, ignore=3, class_base=1)
    images = ImageFolder(tmp_path / "photos")
    dataset = open_label_maps(tmp_path / "maps", images=images, name="made", options=options).read().dataset
    assert [one.category for one in dataset.photos[0].instances] == [1, 2]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (png(np.dstack([PATTERN] * 3), bits=8, colour=RGB), "it is RGB, not grey"),
        (png(np.dstack([PATTERN] * 4), bits=16, colour=RGB_ALPHA), "it is RGBA, not grey"),
        (png(np.dstack([PATTERN, MASK]), bits=8, colour=GREY_ALPHA), "its alpha channel says something"),
        (png(np.dstack([PATTERN, MASK]), bits=16, colour=GREY_ALPHA), "its alpha channel says something"),
    ],
)
def test_values_of_other_kinds_are_refused(content, sentence, file):
    with pytest.raises(PngError, match=sentence):
        read_values(file(content))


@pytest.mark.parametrize("bits", [8, 16])
def test_segments_are_numbered_by_all_that_the_file_holds(bits, file):
    red, green, blue = PATTERN, OTHER, MASK
    expected = red + 256 * green + 65536 * blue
    np.testing.assert_array_equal(
        read_colours(file(png(np.dstack([red, green, blue]), bits=bits, colour=RGB))), expected
    )
    for opaque in (NOTHING, ALL):
        content = png(np.dstack([red, green, blue, opaque]), bits=bits, colour=RGB_ALPHA)
        np.testing.assert_array_equal(read_colours(file(content)), expected)
    with pytest.raises(PngError, match="its alpha channel says something"):
        read_colours(file(png(np.dstack([red, green, blue, OTHER]), bits=bits, colour=RGB_ALPHA)))


def test_segments_of_more_than_eight_bits_a_channel_are_refused(file):
    with pytest.raises(PngError, match="it holds 256 in a channel, expected 255 at most"):
        read_colours(file(png(np.dstack([PATTERN + 5] * 3), bits=16, colour=RGB)))


def grey_alpha(grey, alpha):
    return png(np.dstack([grey, alpha]), bits=8, colour=GREY_ALPHA)


def rgb_alpha(colour, alpha, *, bits=8):
    return png(np.dstack([*([colour] * 3), alpha]), bits=bits, colour=RGB_ALPHA)


PALETTE = {b"PLTE": bytes([255, 255, 255, 255, 255, 255])}
MASKS = {
    "grey": png(MASK, bits=8),
    "grey of one bit": png(INSIDE, bits=1),
    "grey of 2 bits": png(INSIDE, bits=2),
    "grey of 16 bits, small numbers": png(INSIDE, bits=16),
    "RGB": png(np.dstack([MASK] * 3), bits=8, colour=RGB),
    "RGB of 16 bits, small numbers": png(np.dstack([INSIDE] * 3), bits=16, colour=RGB),
    "opaque": rgb_alpha(MASK, ALL),
    "half transparent": rgb_alpha(MASK, ALL // 2),
    "white, mask in alpha": rgb_alpha(ALL, MASK),
    "black, mask in alpha": rgb_alpha(NOTHING, MASK),
    "white, mask in alpha of 16 bits, small numbers": rgb_alpha(ALL, INSIDE, bits=16),
    "grey, mask in alpha": grey_alpha(ALL, MASK),
    "mask in both": rgb_alpha(MASK, MASK),
    "soft alpha": rgb_alpha(ALL, np.where(INSIDE, PATTERN, 0)),
    "white palette, mask in its transparency": png(
        INSIDE, bits=1, colour=3, chunks={**PALETTE, b"tRNS": bytes([0, 255])}
    ),
    "black and white palette": png(INSIDE, bits=1, colour=3, chunks={b"PLTE": bytes([0] * 3 + [255] * 3)}),
    "black is transparent": png(INSIDE * 3, bits=2, colour=GREY, chunks={b"tRNS": bytes([0, 0])}),
}


@pytest.mark.parametrize("kind", MASKS)
def test_a_mask_is_what_its_colours_or_its_alpha_say(kind, file):
    np.testing.assert_array_equal(read_mask(file(MASKS[kind])), INSIDE)


def test_a_mask_of_one_colour_that_shows_nowhere_has_no_pixel(file):
    assert not read_mask(file(rgb_alpha(ALL, NOTHING))).any()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (rgb_alpha(PATTERN, MASK), "its alpha channel and its colours show different masks"),
        (rgb_alpha(MASK, OTHER), "its alpha channel and its colours show different masks"),
        (rgb_alpha(MASK, NOTHING), "its alpha channel and its colours show different masks"),
        (grey_alpha(MASK, OTHER), "its alpha channel and its colours show different masks"),
        (rgb_alpha(ALL, PATTERN), "it has one colour, and its alpha channel is 0 nowhere"),
        (png(INSIDE, bits=1, chunks={b"tRNS": bytes([0, 1])}), "its alpha channel and its colours show different"),
    ],
)
def test_a_mask_that_may_mean_two_things_is_refused_by_its_channel(content, sentence, file):
    with pytest.raises(PngError, match=sentence):
        read_mask(file(content))


def test_an_object_kept_in_alpha_is_the_object(tmp_path):
    write_photo(tmp_path / "p/images/p.png")
    (tmp_path / "p/masks").mkdir(parents=True)
    (tmp_path / "p/masks/0.png").write_bytes(rgb_alpha(ALL, MASK))
    (tmp_path / "p/masks/1.png").write_bytes(rgb_alpha(PATTERN, MASK))
    with pytest.raises(UserError, match=r"1 masks that cannot be used \(p/1.png: its alpha channel"):
        open_instance_pngs(tmp_path, images=None, name="x", options=FormatOptions()).read()
    opened = open_instance_pngs(tmp_path, images=None, name="x", options=FormatOptions())
    dataset = opened.read(allow_missing=True).dataset
    (one,) = dataset.photos[0].instances
    assert one.segmentation == rle.encode(INSIDE)


def test_faults_of_the_machine_are_not_the_files(file, monkeypatch):
    path = file(MASKS["grey"])

    def fails(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("builtins.open", fails)
    with pytest.raises(MachineError, match="Input/output error"):
        read_mask(path)


def test_evaluation_reads_deep_photos_as_prediction_does(tmp_path):
    """They had two readers: one took a 16-bit photo up to 255 as it is, the other as black."""
    for name, content in {
        "dim.png": png(PATTERN % 200, bits=16),
        "camera.tif": tiff(PATTERN * 16, bits=12),
        "colours.png": png(np.dstack([PATTERN * 4] * 3), bits=16, colour=RGB),
        "floats.tif": floats(PATTERN / 251),
    }.items():
        (tmp_path / name).write_bytes(content)
        read = ImageFolder(tmp_path).reader(name, height=SIZE[0], width=SIZE[1])
        np.testing.assert_array_equal(read(), read_photo(tmp_path / name))
        np.testing.assert_array_equal(read(), read_photo(tmp_path / name, orientation=Orientation.STORED))
        assert read().max() > 190, f"{name} is not nearly black"


def floats(shades):
    file = io.BytesIO()
    Image.fromarray(shades.astype(np.float32)).save(file, format="TIFF")
    return file.getvalue()
