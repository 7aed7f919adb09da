"""Files that no server has written: each is refused by name, quickly and in little memory."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cutscene_server.errors import InvalidRequest, NoRoom, OtherModel, ServerError

from .samples import NAMES, Parts, complaint, read, sample, written, zipped

SAMPLE = sample()
FILE = written(SAMPLE)
PARTS = Parts.of(FILE)


# ---- the ZIP --------------------------------------------------------------------------------------------------------


def entries() -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(FILE)) as archive:
        return {name: archive.read(name) for name in NAMES}


def with_zip64_directory(size: int) -> bytes:
    """A file whose end says that its directory has so many bytes."""
    end = FILE.rindex(b"PK\x05\x06")
    large = struct.pack("<4sQHHLLQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, 3, 3, size, 0)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1)
    return FILE[:end] + large + locator + FILE[end:]


def with_directory_field(offset: int, value: bytes, entry: int = 0) -> bytes:
    """The file with a field of one entry in its directory overwritten."""
    file = bytearray(FILE)
    place = -1
    for _ in range(entry + 1):
        place = file.index(b"PK\x01\x02", place + 1)
    file[place + offset : place + offset + len(value)] = value
    return bytes(file)


def duplicated() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in entries().items():
            archive.writestr(name, data)
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("manifest.json", b"{}")
    return file.getvalue()


def commented() -> bytes:
    file = io.BytesIO(FILE)
    with zipfile.ZipFile(file, "a") as archive:
        archive.comment = b"hello"
    return file.getvalue()


ZIPS: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "not a whole session file"),
    "not a zip": (lambda: b"GIF89a" + bytes(5000), "not a whole session file"),
    "another format": (lambda: json.dumps({"frames": []}).encode(), "not a whole session file"),
    "half of it": (lambda: FILE[: len(FILE) // 2], "not a whole session file"),
    "a byte less": (lambda: FILE[:-1], "not a whole session file"),
    "something before it": (lambda: b"x" + FILE, "places and sizes"),
    "something behind it": (lambda: FILE + b"x" * 100, "goes on after its end"),
    "a comment": (commented, "goes on after its end"),
    "no entries": (lambda: zipped({}), "found none; expected session.msgpack"),
    "an entry missing": (lambda: zipped(dict(list(entries().items())[:2])), r"expected .*manifest\.json"),
    "another entry": (lambda: zipped({**entries(), "../../etc/passwd": b""}), r"'\.\./\.\./etc/passwd'"),
    "another order": (lambda: zipped(dict(reversed(entries().items()))), "in this order"),
    "an entry twice": (duplicated, "in this order"),
    "a thousand entries": (lambda: zipped({str(n): b"" for n in range(1000)}), r"'3', \.\.\."),
    "very many entries": (lambda: zipped({str(n): b"" for n in range(4000)}), "bytes were to be read at once"),
    "a directory of 2^60 bytes": (lambda: with_zip64_directory(1 << 60), "not a whole session file"),
    "compressed": (lambda: zipped(entries(), zipfile.ZIP_DEFLATED), "is compressed"),
    "another compression": (lambda: with_directory_field(10, b"\x63\x00"), "is compressed"),
    "encrypted": (lambda: with_directory_field(8, b"\x01\x00"), "must not be encrypted"),
    "strongly encrypted": (lambda: with_directory_field(8, b"\x41\x00"), "must not be encrypted"),
    "larger than it is": (lambda: with_directory_field(20, struct.pack("<LL", 1 << 30, 1 << 30)), "places and sizes"),
    "smaller than it is": (lambda: with_directory_field(20, struct.pack("<LL", 40, 40)), "places and sizes"),
    "two at one place": (lambda: with_directory_field(42, struct.pack("<L", 0), entry=1), "places and sizes"),
    "a name with a zero": (lambda: with_directory_field(46, b"session.msgpac\0"), r"session\.msgpac\\x00"),
    "another name inside": (lambda: FILE.replace(b"session.msgpack", b"session.MSGPACK", 1), "not a whole"),
    "a wrong checksum": (lambda: with_directory_field(16, bytes(4)), "Bad CRC-32"),
}


@pytest.mark.parametrize("name", ZIPS)
def test_what_is_not_such_a_zip(name: str) -> None:
    make, says = ZIPS[name]
    assert re.search(says, complaint(make()))


# ---- the manifest ---------------------------------------------------------------------------------------------------


def changed_manifest(**changes: Any) -> bytes:
    parts = PARTS.copy()
    parts.manifest |= changes
    return parts.packed()


MANIFESTS: dict[str, tuple[dict[str, Any], str]] = {
    "another format": ({"format": "cutscene-recording"}, r"manifest\.format: this is not"),
    "a later version": ({"format_version": 2}, "format_version: found 2; this server reads version 1"),
    "a name too many": ({"seed": 3}, r"file\.manifest: says 'seed', which is nothing known"),
    "no model's digest": ({"model": {"name": "synthetic"}}, r"manifest\.model: has no digest"),
    "model is text": ({"model": "synthetic"}, r"manifest\.model"),
    "a dtype": ({"latents": {"dtype": "float32", "shape": [4, 1, 2]}}, r"dtype: found 'float32'; allowed is float16"),
    "another shape": ({"latents": {"dtype": "float16", "shape": [64, 9, 16]}}, r"\[64, 9, 16\]; this model's are \[4"),
    "two dimensions": ({"latents": {"dtype": "float16", "shape": [4, 2]}}, r"shape: is not a list of channels"),
    "negative frames": ({"frames": -1}, r"manifest\.frames: found -1"),
    "frames as text": ({"frames": "10"}, r"manifest\.frames"),
    "frames as a truth": ({"frames": True}, r"manifest\.frames: found True"),
    "half a frame": ({"frames": 9.5}, r"manifest\.frames"),
    "a frame too many": ({"frames": 11}, r"latents\.safetensors: its header"),
    "a frame too few": ({"frames": 9}, r"latents\.safetensors: its header"),
    "very many turns": ({"turns": 4097}, r"manifest\.turns: found 4097; allowed .* 4096"),
    "a turn too many": ({"turns": 4}, r"turns\[3\]: is not a list of 8"),
    "a turn too few": ({"turns": 2}, r"frames\[0\]: is not a list of 7"),
    "no environment": ({"environment": []}, "environment"),
    "a large environment": ({"environment": {str(n): "" for n in range(33)}}, "environment"),
    "unprintable text": ({"environment": {"torch": "\x1b[2J"}}, "printable"),
    "no time": ({"created_unix_us": None}, r"created_unix_us: found None"),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_what_is_not_such_a_manifest(name: str) -> None:
    changes, says = MANIFESTS[name]
    assert re.search(says, complaint(changed_manifest(**changes)))


@pytest.mark.parametrize(
    "text", ["", "[", "[" * 60_000, "9" * 60_000, "[]", "null", "\xff", '{"format": NaN}', " " * 70_000]
)
def test_what_is_not_json(text: str) -> None:
    file = zipped({**entries(), "manifest.json": text.encode("latin-1")})
    assert "manifest" in complaint(file)


def test_digests_and_sizes_are_those_of_the_entries() -> None:
    whole = entries()
    session = bytearray(whole["session.msgpack"])
    session[-1] ^= 1
    assert "its digest is another one" in complaint(zipped({**whole, "session.msgpack": bytes(session)}))
    latents = whole["latents.safetensors"]
    assert "its digest is another one" in complaint(zipped({**whole, "latents.safetensors": latents[:-1] + b"\x01"}))
    assert "the manifest says" in complaint(zipped({**whole, "latents.safetensors": latents + b"\0"}))


def test_another_model_s_session_is_refused_as_such() -> None:
    with pytest.raises(
        OtherModel, match=r"drawn by larger 1111111111111111; this server plays synthetic 0000000000000000"
    ):
        read(changed_manifest(model={"name": "larger", "digest": "1" * 64}))


def test_more_frames_than_this_server_lets_a_session_draw() -> None:
    with pytest.raises(NoRoom, match="has 10 frames; this server allows at most 9") as raised:
        read(FILE, max_frames=9)
    assert raised.value.retry_after_s is None


# ---- latents --------------------------------------------------------------------------------------------------------


def header(about: object, padding: int = 0) -> bytes:
    text = json.dumps(about).encode() + b" " * padding
    return len(text).to_bytes(8, "little") + text


def test_what_is_not_such_a_tensor() -> None:
    length = int.from_bytes(PARTS.latents[:8], "little")
    numbers = PARTS.latents[8 + length :]
    about = json.loads(PARTS.latents[8 : 8 + length])
    tensor = about["latents"]

    def said(latents: bytes) -> str:
        parts = PARTS.copy()
        parts.latents = latents
        return complaint(parts.packed())

    assert read(dataclasses.replace(PARTS.copy(), latents=header(about, 3) + numbers).packed()) == SAMPLE
    for latents, says in (
        (b"", "has 0 bytes|not JSON"),
        (b"\xff" * 8 + numbers, "its header is said to have"),
        (header({}) + numbers, "its header"),
        (header({"latents": {**tensor, "dtype": "F32"}}) + numbers, "its header"),
        (header({"latents": {**tensor, "shape": [10, 4, 2, 1]}}) + numbers, "its header"),
        (header({"latents": {**tensor, "data_offsets": [0, 1 << 50]}}) + numbers, "its header"),
        (header({**about, "other": tensor}) + numbers, "its header"),
        ((60_000).to_bytes(8, "little") + b"[" * 60_000 + numbers, "not JSON"),
        (header(about) + numbers + bytes(16), "10 frames take"),
        (header(about) + numbers[:-16], "10 frames take"),
        (header(about) + numbers[:-2] + np.float16(np.nan).tobytes(), "frame 9 has numbers that are not finite"),
        (header(about) + np.float16(-np.inf).tobytes() + numbers[2:], "frame 0 has numbers that are not finite"),
    ):
        assert re.search(says, said(latents)), says


# ---- anything -------------------------------------------------------------------------------------------------------


def check_harmless(file: bytes, *, same: bool) -> None:
    try:
        found = read(file)
    except ServerError:
        return
    if same:
        assert found == SAMPLE


@settings(max_examples=600, deadline=None)
@given(place=st.integers(0, len(FILE) - 1), change=st.integers(1, 255))
def test_any_byte_that_is_changed_is_noticed_or_does_no_harm(place: int, change: int) -> None:
    check_harmless(FILE[:place] + bytes([FILE[place] ^ change]) + FILE[place + 1 :], same=True)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(FILE) - 1))
def test_any_end_that_is_missing_is_noticed(length: int) -> None:
    with pytest.raises(InvalidRequest):
        read(FILE[:length])


SESSION = PARTS.session


@settings(max_examples=600, deadline=None)
@given(place=st.integers(0, len(SESSION) - 1), change=st.binary(min_size=1, max_size=6), cut=st.integers(0, 6))
def test_records_that_were_changed_by_somebody_who_can_compute_digests(place: int, change: bytes, cut: int) -> None:
    check_harmless(PARTS.copy().packed(SESSION[:place] + change + SESSION[place + cut :]), same=False)
