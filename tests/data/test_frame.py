import dataclasses
import io
import tarfile

import numpy as np
import pytest
import simplejpeg
from broken_photos import BROKEN, GOOD
from PIL import Image
from shards import jpeg

from samjax.data.frame import Decoding, frame_photo
from samjax.data.photo import PhotoError
from samjax.data.view import WHOLE, View

RNG = np.random.default_rng(0)


def whole(height, width, frame):
    return WHOLE.draw(RNG, photo=(height, width), frame=frame)


def by_pil(data, view, frame):
    with Image.open(io.BytesIO(data)) as photo:
        scaled = photo.convert("RGB").resize(view.scaled_size[::-1], Image.Resampling.BILINEAR)
    image = np.zeros((*frame, 3), np.uint8)
    (top, left), (height, width) = view.corner, view.window
    window = np.asarray(scaled)[top : top + height, left : left + width]
    window = np.flipud(window) if view.upside_down else window
    image[:height, :width] = np.fliplr(window) if view.flip else window
    return image


@pytest.fixture(scope="module")
def real(photos):
    """The shipped photos, 384 pixels the longest side."""
    with tarfile.open(photos / "train/sa_000000.tar") as shard:
        names = [name for name in shard.getnames() if name.endswith(".jpg")]
        return [shard.extractfile(name).read() for name in names]


@pytest.mark.parametrize("decoding", Decoding)
@pytest.mark.parametrize("frame", [(64, 64), (48, 96)])
def test_a_framed_photo_is_pil_bilinear_and_zeros(frame, decoding):
    """SCALED decodes all of a photo that is scaled down by little."""
    data = jpeg(90, 120)
    view = whole(90, 120, frame)
    framed = frame_photo(data, view=view, frame=frame, decoding=decoding)
    height, width = view.window
    np.testing.assert_array_equal(framed, by_pil(data, view, frame))
    assert framed[:height, :width].any()
    assert not framed[height:].any()
    assert not framed[:, width:].any()


@pytest.mark.parametrize("decoding", Decoding)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_png_is_framed_as_the_pixels_in_it(mode, decoding):
    """SCALED decodes all of a PNG, however small the frame."""
    pixels = np.random.default_rng(1).integers(0, 256, (90, 120, len(mode)), np.uint8).squeeze()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    view = whole(90, 120, (16, 16))
    framed = frame_photo(file.getvalue(), view=view, frame=(16, 16), decoding=decoding)
    np.testing.assert_array_equal(framed, by_pil(file.getvalue(), view, (16, 16)))


@pytest.mark.parametrize("frame", [(256, 256), (512, 512)])
def test_exact_decoding_is_pil_bit_for_bit(real, frame):
    for data in real:
        with Image.open(io.BytesIO(data)) as photo:
            view = whole(photo.height, photo.width, frame)
        found = frame_photo(data, view=view, frame=frame, decoding=Decoding.EXACT)
        np.testing.assert_array_equal(found, by_pil(data, view, frame))


@pytest.mark.parametrize("longest", [19, 38, 90, 96, 150])
def test_scaled_decoding_stays_within_a_grey_level_on_average(real, longest):
    """From one to five eighths, at the least scale asked of each; with fewer pixels decoded it is not the same."""
    errors = []
    for data in real:
        with Image.open(io.BytesIO(data)) as photo:
            view = whole(photo.height, photo.width, (longest, longest))
        found = frame_photo(data, view=view, frame=(longest, longest), decoding=Decoding.SCALED)
        height, width = view.window
        error = np.abs(found.astype(int) - by_pil(data, view, (longest, longest)))[:height, :width]
        errors.append(error.mean())
    assert 0 < np.mean(errors) < 1, errors
    assert max(errors) < 2, errors


@pytest.mark.parametrize("mode", ["L", "CMYK"])
@pytest.mark.parametrize("decoding", Decoding)
def test_grey_and_cmyk_become_rgb(real, mode, decoding):
    file = io.BytesIO()
    with Image.open(io.BytesIO(real[0])) as photo:
        photo.convert(mode).save(file, format="JPEG", quality=90)
        view = whole(photo.height, photo.width, (96, 96))
    found = frame_photo(file.getvalue(), view=view, frame=(96, 96), decoding=decoding)
    error = np.abs(found.astype(int) - by_pil(file.getvalue(), view, (96, 96)))
    assert error.max() == 0 if decoding is Decoding.EXACT or mode == "CMYK" else 0 < error.mean() < 1
    assert found.any()


@pytest.mark.parametrize("decoding", Decoding)
def test_pixels_are_taken_as_stored_whatever_exif_says(decoding):
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by a quarter
    Image.open(io.BytesIO(jpeg(60, 90))).save(file, format="JPEG", quality=95, exif=exif)
    plain = io.BytesIO()
    Image.open(io.BytesIO(jpeg(60, 90))).save(plain, format="JPEG", quality=95)
    view = whole(60, 90, (20, 30))
    turned, stored = (
        frame_photo(one.getvalue(), view=view, frame=(20, 30), decoding=decoding) for one in (file, plain)
    )
    np.testing.assert_array_equal(turned, stored)


@pytest.mark.parametrize("upside_down", [False, True])
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize(
    ("scaled", "corner", "window"),
    [
        ((480, 640), (37, 101), (128, 160)),  # enlarged and cropped
        ((133, 177), (3, 0), (128, 160)),
        ((30, 41), (0, 0), (30, 41)),  # smaller than the frame
        ((128, 300), (0, 140), (128, 160)),
    ],
)
def test_a_window_is_cut_from_the_scaled_photo(real, scaled, corner, window, mirrored, upside_down):
    """PIL computes only the window; rounding differs by at most a level from cutting it out afterwards."""
    with Image.open(io.BytesIO(real[0])) as photo:
        size = (photo.height, photo.width)
    view = View(photo=size, scaled_size=scaled, corner=corner, window=window, flip=mirrored, upside_down=upside_down)
    found = frame_photo(real[0], view=view, frame=(128, 160), decoding=Decoding.EXACT)
    error = np.abs(found.astype(int) - by_pil(real[0], view, (128, 160)))
    assert error.max() <= 1
    assert error.mean() < 0.01


def test_a_scaled_window_lies_where_the_exact_one_does(real):
    """Decoded sides are rounded up to whole pixels: taken for the photo's extent they would shift the far corner."""
    with Image.open(io.BytesIO(real[0])) as photo:
        size = (photo.height - 7, photo.width - 5)
        odd = io.BytesIO()
        photo.crop((0, 0, size[1], size[0])).save(odd, format="JPEG", quality=95)
    view = View(photo=size, scaled_size=(70, 95), corner=(38, 50), window=(32, 45))
    found, exact = (
        frame_photo(odd.getvalue(), view=view, frame=(32, 48), decoding=decoding).astype(int) for decoding in Decoding
    )
    shifted = dataclasses.replace(view, corner=(37, 49))
    neighbour = frame_photo(odd.getvalue(), view=shifted, frame=(32, 48), decoding=Decoding.EXACT).astype(int)
    assert np.abs(found - exact).mean() < 2
    assert np.abs(found - exact).mean() < np.abs(found - neighbour).mean() / 3


@pytest.mark.parametrize("decoding", Decoding)
@pytest.mark.parametrize(("data", "height", "width", "says"), BROKEN)
def test_a_broken_photo_is_refused_with_the_reason(data, height, width, says, decoding, monkeypatch):
    """The same sentences as PIL's own way, and nothing of the size that a file claims is allocated."""
    view = View(photo=(height, width), scaled_size=(10, 15), corner=(0, 0), window=(10, 15))
    decoded = []
    decode = simplejpeg.decode_jpeg
    monkeypatch.setattr(simplejpeg, "decode_jpeg", lambda *args, **kwargs: decoded.append(1) or decode(*args, **kwargs))
    with pytest.raises(PhotoError, match=says):
        frame_photo(data, view=view, frame=(10, 16), decoding=decoding)
    assert not decoded or height * width < 2000


def test_a_photo_that_pil_reads_is_read():
    """Bytes between the parts of a file, of which libjpeg only warns."""
    at = GOOD.index(b"\xff\xda")
    stray = GOOD[:at] + b"\x00\x00" + GOOD[at:]
    view = whole(20, 30, (20, 30))
    found = frame_photo(stray, view=view, frame=(20, 30), decoding=Decoding.EXACT)
    np.testing.assert_array_equal(found, by_pil(GOOD, view, (20, 30)))
