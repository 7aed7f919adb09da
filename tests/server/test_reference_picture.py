"""Pictures that clients send: which are taken, what becomes of them, and that no bytes do harm."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cutscene_server.errors import InvalidRequest
from cutscene_server.reference_picture import MOST_SCANS, decode
from pictures import jpeg, noise, png


def decoded(data: bytes, width: int = 96, height: int = 64) -> npt.NDArray[np.uint8]:
    return np.frombuffer(decode(data, width, height, "field"), np.uint8).reshape(height, width, 3)


def complaint(data: bytes) -> str:
    with pytest.raises(InvalidRequest) as raised:
        decode(data, 96, 64, "open.references[1].data")
    (violation,) = raised.value.violations
    assert violation.field == "open.references[1].data"
    return violation.description


def test_a_picture_of_the_right_size_is_taken_as_it_is() -> None:
    image = noise()
    np.testing.assert_array_equal(decoded(png(image)), np.asarray(image))
    near = decoded(jpeg(image, quality=95, subsampling=0)).astype(int)
    assert np.abs(near - np.asarray(image)).mean() < 3
    progressive = decoded(jpeg(image, quality=95, subsampling=0, progressive=True)).astype(int)
    assert np.abs(progressive - near).mean() < 1


@pytest.mark.parametrize("kind", [png, jpeg])
def test_what_is_too_wide_or_too_high_is_cut_on_both_sides_and_then_scaled(kind: object) -> None:
    pixels = np.zeros((512, 1024, 3), np.uint8)
    pixels[:, 128:896] = (0, 200, 0)  # the middle, of three to two
    encode = png if kind is png else jpeg
    for array in (pixels, pixels.transpose(1, 0, 2)):
        image = Image.fromarray(np.ascontiguousarray(array))
        inner = decoded(encode(image), 96, 64) if array is pixels else decoded(encode(image), 64, 96)
        assert np.abs(inner.astype(int) - (0, 200, 0)).max() < 40
        assert np.abs(inner.astype(int) - (0, 200, 0)).mean() < 3


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA"])
def test_other_kinds_of_png_become_rgb(mode: str) -> None:
    image = noise().convert("L") if mode in ("1", "L", "LA") else noise()
    image = image.convert(mode)
    expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(decoded(png(image)), expected)


def test_transparency_is_ignored_in_palettes_too() -> None:
    image = noise().convert("P")
    expected = np.asarray(image.convert("RGB"))
    file = io.BytesIO()
    image.save(file, "PNG", transparency=bytes(range(0, 256, 2)))
    np.testing.assert_array_equal(decoded(file.getvalue()), expected)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def header(width: int, height: int) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


def saved(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


SIGNATURE = b"\x89PNG\r\n\x1a\n"
ZEROS = zlib.compress(bytes(8 << 20), 9)
WHOLE = {"jpeg": jpeg(noise()), "png": png(noise())}
HOSTILE = {
    "nothing": (b"", "is neither a JPEG nor a PNG"),
    "text": (b"<svg/>", "is neither a JPEG nor a PNG"),
    "another format": (saved(noise(), "GIF"), "is neither a JPEG nor a PNG"),
    "another format of Pillow's": (saved(noise(), "TIFF"), "is neither a JPEG nor a PNG"),
    "a JPEG's first bytes": (WHOLE["jpeg"][:3], "is no whole JPEG picture"),
    "half a JPEG": (WHOLE["jpeg"][: len(WHOLE["jpeg"]) // 2], "is no whole JPEG picture"),
    "a JPEG without its end": (WHOLE["jpeg"][:-40], "is no whole JPEG picture"),
    "half a PNG": (WHOLE["png"][: len(WHOLE["png"]) // 2], "is no whole PNG picture"),
    "a PNG's signature": (SIGNATURE, "is no whole PNG picture"),
    "a PNG with a wrong checksum": (WHOLE["png"][:29] + b"\0\0\0\0" + WHOLE["png"][33:], "is no whole PNG picture"),
    "small": (png(noise(63, 64)), r"found 63x64 pixels; allowed are sides of 64 to 4096 pixels"),
    "wide": (png(noise(4097, 64)), r"found 4097x64 pixels"),
    "a bomb": (SIGNATURE + header(4097, 4097) + chunk(b"IDAT", ZEROS) + chunk(b"IEND", b""), "found 4097x4097"),
    "a large bomb": (SIGNATURE + header(50_000, 50_000) + chunk(b"IDAT", ZEROS), "its sides are too large"),
    "an absurd bomb": (SIGNATURE + header(1 << 30, 1 << 30) + chunk(b"IDAT", ZEROS), "its sides are too large"),
    "a second header": (
        SIGNATURE + header(64, 64) + header(60_000, 60_000) + chunk(b"IDAT", ZEROS),
        "is no whole PNG|too large|found",
    ),
    "a text that inflates": (
        SIGNATURE + header(64, 64) + chunk(b"zTXt", b"k\0\0" + ZEROS) + WHOLE["png"][33:],
        "is no whole PNG picture",
    ),
    "CMYK": (jpeg(noise().convert("CMYK")), "found colours of kind CMYK"),
    "grey of 16 bits": (png(Image.fromarray(np.zeros((64, 64), np.uint16))), "found colours of kind I;16"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_picture_to_be_taken_is_refused(name: str) -> None:
    data, says = HOSTILE[name]
    assert any(each in complaint(data) for each in says.split("|"))


def test_a_jpeg_of_very_many_scans_is_refused_before_it_is_decoded() -> None:
    whole = jpeg(noise(), progressive=True)
    start = whole.index(b"\xff\xda")
    scan = whole[start : whole.index(b"\xff", start + 2 + int.from_bytes(whole[start + 2 : start + 4], "big"))]
    many = whole[:start] + scan * (MOST_SCANS + 1) + whole[start:]
    assert f"allowed are at most {MOST_SCANS}" in complaint(many)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(WHOLE)), st.integers(0, 4000), st.binary(min_size=1, max_size=12))
def test_bytes_changed_anywhere_do_no_harm(kind: str, place: int, other: bytes) -> None:
    data = bytearray(WHOLE[kind])
    place %= len(data)
    data[place : place + len(other)] = other
    try:
        assert decoded(bytes(data)).shape == (64, 96, 3)
    except InvalidRequest as error:
        assert error.violations[0].field == "field"  # noqa: PT017 - either is right
