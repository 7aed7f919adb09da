"""A client's picture to pixels of the model's size. What can be refused before any pixel is decoded is refused there.

Pillow decodes in C what strangers send, so it is given two formats and no more, bounded sides, and a bounded number of
scans: a progressive JPEG of a megabyte may have tens of thousands of these, each a pass over the whole picture (the
report "Two Issues with the JPEG Standard" of libjpeg-turbo tells of it).
"""

from __future__ import annotations

import io

from PIL import Image, ImageOps

from cutscene_server.errors import FieldViolation, InvalidRequest

LEAST_SIDE, MOST_SIDE = 64, 4096  # pixels
MOST_SCANS = 64  # a usual progressive JPEG has ten
_SIGNATURES = {"JPEG": b"\xff\xd8\xff", "PNG": b"\x89PNG\r\n\x1a\n"}
_START_OF_SCAN = b"\xff\xda"  # cannot occur within a scan: 0xff is stuffed there
_MODES = frozenset(("1", "L", "LA", "P", "PA", "RGB", "RGBA"))


def decode(data: bytes, width: int, height: int, field: str) -> bytes:
    """The picture brought to ``width`` x ``height``, cut about its middle: RGB bytes, rows top down.

    Raises ``InvalidRequest`` that names ``field``. Of the largest size it takes half a second and up to 200 MB: to be
    called in one thread that may wait.
    """
    found = [name for name, signature in _SIGNATURES.items() if data.startswith(signature)]
    if not found:
        raise _refused(field, "is neither a JPEG nor a PNG")
    if found == ["JPEG"] and (scans := data.count(_START_OF_SCAN)) > MOST_SCANS:
        raise _refused(field, f"found {scans} scans; allowed are at most {MOST_SCANS}")
    try:
        with Image.open(io.BytesIO(data), formats=found) as image:
            _check(image, field)
            image.draft("RGB", (width, height))  # a JPEG decoder can leave out detail that is scaled away after
            image.load()
            image.info.pop("transparency", None)
            return ImageOps.fit(image.convert("RGB"), (width, height), Image.Resampling.BICUBIC).tobytes()
    except InvalidRequest:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _refused(field, f"its sides are too large; allowed are {LEAST_SIDE} to {MOST_SIDE} pixels") from None
    except Exception as error:  # whatever a decoder makes of bytes that are no picture; there is no list of it
        raise _refused(field, f"is no whole {found[0]} picture ({type(error).__name__})") from None


def _check(image: Image.Image, field: str) -> None:
    """Before any pixel is decoded: only the header was read."""
    width, height = image.size
    if not (LEAST_SIDE <= width <= MOST_SIDE and LEAST_SIDE <= height <= MOST_SIDE):
        raise _refused(field, f"found {width}x{height} pixels; allowed are sides of {LEAST_SIDE} to {MOST_SIDE} pixels")
    if image.mode not in _MODES:
        raise _refused(field, f"found colours of kind {image.mode}; allowed are grey of 8 bits, palette and RGB")


def _refused(field: str, description: str) -> InvalidRequest:
    return InvalidRequest([FieldViolation(field, description)])
