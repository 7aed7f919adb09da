"""What a session file is made of: names, limits, the manifest and the tensor's header."""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass
from typing import Any

from cutscene_server.errors import FieldViolation, InvalidRequest
from cutscene_server.store.records import LARGEST_INT

FORMAT, FORMAT_VERSION = "cutscene-session", 1
SESSION, LATENTS, MANIFEST = "session.msgpack", "latents.safetensors", "manifest.json"
ENTRIES = (SESSION, LATENTS, MANIFEST)
DTYPE = "float16"
DIGEST_BYTES = 32

MAX_MANIFEST_BYTES = 64 << 10
MAX_STAGE_BYTES = 256 << 10  # the largest set takes some 60 kB
MAX_STATE_BYTES = 4 << 10  # the largest state takes 2.6 kB
MAX_RECORD_BYTES = 512 << 10
MAX_TURNS = 4096  # what a store remembers of a session
MAX_WAITING_BYTES = 64 << 20  # states that are yet to be drawn: a replay may wait to draw 16,384
MAX_STAMPS = 32
MAX_TEXT = 1024
LARGEST_NUMBER = (1 << 53) - 1  # of turns: the next ones must fit too

_HEX = re.compile(r"[0-9a-f]{64}")


def refused(field: str, description: str) -> InvalidRequest:
    """The error for one thing that is wrong with a file."""
    return InvalidRequest([FieldViolation(field, description)])


@dataclass(frozen=True, slots=True)
class Entry:
    """What the manifest says of an entry."""

    byte_size: int
    blake2b: str  # hex


@dataclass(frozen=True, slots=True)
class FileManifest:
    """A session file's ``manifest.json``."""

    model: str
    model_digest: str
    latent_shape: tuple[int, ...]
    frame_count: int
    turn_count: int
    environment: dict[str, str]  # what the frames were drawn with
    created_unix_us: int  # when the file was made
    session: Entry
    latents: Entry

    def packed(self) -> bytes:
        """As it stands in the file."""
        plain = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "model": {"name": self.model, "digest": self.model_digest},
            "latents": {"dtype": DTYPE, "shape": list(self.latent_shape)},
            "frames": self.frame_count,
            "turns": self.turn_count,
            "entries": {SESSION: dataclasses.asdict(self.session), LATENTS: dataclasses.asdict(self.latents)},
            "environment": self.environment,
            "created_unix_us": self.created_unix_us,
        }
        return (json.dumps(plain, indent=2) + "\n").encode()


def read_manifest(data: bytes) -> FileManifest:
    """The manifest that ``FileManifest.packed`` packed. Raises ``InvalidRequest``."""
    path = "file.manifest"
    plain = read_json(data, path)
    if not isinstance(plain, dict) or plain.get("format") != FORMAT:
        raise refused(f"{path}.format", f"this is not a {FORMAT} file's manifest")
    if plain.get("format_version") != FORMAT_VERSION:
        version = said(plain.get("format_version"))
        raise refused(f"{path}.format_version", f"found {version}; this server reads version {FORMAT_VERSION}")
    names = {"format", "format_version", "model", "latents", "frames", "turns", "entries", "environment"}
    _require_names(plain, path, names | {"created_unix_us"})
    model = _require_names(plain["model"], f"{path}.model", {"name", "digest"})
    latents = _require_names(plain["latents"], f"{path}.latents", {"dtype", "shape"})
    entries = _require_names(plain["entries"], f"{path}.entries", {SESSION, LATENTS})
    if latents["dtype"] != DTYPE:
        raise refused(f"{path}.latents.dtype", f"found {said(latents['dtype'])}; allowed is {DTYPE}")
    if not isinstance(latents["shape"], list) or len(latents["shape"]) != 3:
        raise refused(f"{path}.latents.shape", "is not a list of channels, rows and columns")
    return FileManifest(
        model=_text(model["name"], f"{path}.model.name"),
        model_digest=_text(model["digest"], f"{path}.model.digest"),
        latent_shape=tuple(_count(size, f"{path}.latents.shape") for size in latents["shape"]),
        frame_count=_count(plain["frames"], f"{path}.frames"),
        turn_count=_count(plain["turns"], f"{path}.turns", MAX_TURNS),
        environment=_environment(plain["environment"], f"{path}.environment"),
        created_unix_us=_count(plain["created_unix_us"], f"{path}.created_unix_us"),
        session=_entry(entries[SESSION], f"{path}.entries.{SESSION}"),
        latents=_entry(entries[LATENTS], f"{path}.entries.{LATENTS}"),
    )


def latents_header(frame_count: int, latent_shape: tuple[int, ...]) -> bytes:
    """What stands before the tensor's numbers (the safetensors format: a length, then JSON, padded to 8 bytes)."""
    text = json.dumps(latents_about(frame_count, latent_shape)).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def latents_about(frame_count: int, latent_shape: tuple[int, ...]) -> dict[str, Any]:
    """What that header says."""
    end = frame_count * latent_bytes(latent_shape)
    return {"latents": {"dtype": "F16", "shape": [frame_count, *latent_shape], "data_offsets": [0, end]}}


def latent_bytes(latent_shape: tuple[int, ...]) -> int:
    """Of one frame."""
    size = 2
    for length in latent_shape:
        size *= length
    return size


def read_json(data: bytes, path: str) -> object:
    """Raises ``InvalidRequest`` if this is no JSON, or nests deeper than anything here needs to."""
    try:
        plain: object = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise refused(path, f"is not JSON: {said(str(error))}") from None
    return plain


def _require_names(plain: object, path: str, names: set[str]) -> dict[str, Any]:
    if not isinstance(plain, dict):
        raise refused(path, f"found {said(plain)}; expected an object")
    for name in sorted(set(plain) ^ names):
        raise refused(path, f"has no {name}" if name in names else f"says {said(name)}, which is nothing known")
    return plain


def _entry(plain: object, path: str) -> Entry:
    about = _require_names(plain, path, {field.name for field in dataclasses.fields(Entry)})
    return Entry(_count(about["byte_size"], f"{path}.byte_size"), _digest(about["blake2b"], f"{path}.blake2b"))


def _environment(plain: object, path: str) -> dict[str, str]:
    if not isinstance(plain, dict) or len(plain) > MAX_STAMPS:
        raise refused(path, f"is not an object of at most {MAX_STAMPS} names")
    return {_text(name, path): _text(value, path) for name, value in plain.items()}


def _count(plain: object, path: str, most: int = LARGEST_INT) -> int:
    if type(plain) is not int or not 0 <= plain <= most:
        raise refused(path, f"found {said(plain)}; allowed are whole numbers from 0 to {most}")
    return plain


def _digest(plain: object, path: str) -> str:
    if not isinstance(plain, str) or _HEX.fullmatch(plain) is None:
        raise refused(path, f"found {said(plain)}; a digest has 64 hexadecimal digits")
    return plain


def _text(plain: object, path: str) -> str:
    if not isinstance(plain, str) or len(plain) > MAX_TEXT or not plain.isprintable():
        raise refused(path, f"found {said(plain)}; allowed are up to {MAX_TEXT} printable characters")
    return plain


def said(value: object) -> str:
    """What a file says, safe and short enough to send back."""
    text = ascii(value) if isinstance(value, (str, int, float, type(None))) else f"a {type(value).__name__}"
    return text if len(text) <= 80 else text[:80] + "..."
