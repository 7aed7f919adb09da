"""The model's manifest: what the weights are, read from and written to ``manifest.json`` beside them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FORMAT_VERSION = 2
_FRAME_STEPS = 2  # denoising steps that the rest of a frame takes the time of, or nearly so


class ManifestError(ValueError):
    """The manifest is missing, malformed, or does not match the weights beside it."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """Name, shapes, tiers, vocabulary, provenance and measured quality of one released model. Raises ``ManifestError``
    for values of another kind, and for what it says of tiers that it has not, or beyond a limit.
    """

    name: str
    version: str
    digest: str  # BLAKE2b-256, hex, over the weight files in the order of ``files``
    width: int  # pixels
    height: int  # pixels
    latent_shape: tuple[int, int, int]  # channels, rows, columns
    greybox_shape: tuple[int, int]  # rows, columns
    tiers: dict[str, int]  # tier name -> denoising steps
    default_tier: str
    window: int  # frame blocks that a new frame attends to
    costumes: tuple[str, ...]
    looks: tuple[str, ...]
    emotions: tuple[str, ...]
    files: tuple[str, ...]  # weight files, relative to the manifest
    architecture: dict[str, Any] = field(default_factory=dict)  # constructor arguments of the networks
    # Tier name -> how much, of 2, a cell's colour must differ from one beside it for its pixels to be shaded singly.
    # Tiers that are not named shade cells only.
    contrast: dict[str, float] = field(default_factory=dict)
    references: int = 0  # reference pictures that a stage may have; 0: the model has nothing to see them with
    reference_shape: tuple[int, ...] = ()  # of what a session keeps of each, float16
    sketched: tuple[str, ...] = ()  # tiers whose pictures the small decoder draws: see ``sketch``
    # Tier name -> what its frame takes, of one of the default tier: a server's first guess. Where it is not said, it is
    # told from the denoising steps.
    work: dict[str, float] = field(default_factory=dict)
    license: str = ""
    data: dict[str, Any] = field(default_factory=dict)  # what it was trained on: packs, rooms, seeds, frames
    training: dict[str, Any] = field(default_factory=dict)  # steps, hours, seeds, settings
    quality: dict[str, Any] = field(default_factory=dict)  # as measured on held-out scripts, with the command

    def __post_init__(self) -> None:
        for field_name, kind, sound in _KINDS:
            if not sound(value := getattr(self, field_name)):
                raise ManifestError(f"{field_name}: found {str(value)[:60]!r}, which is no {kind}")
        if self.default_tier not in self.tiers:
            raise ManifestError(f"default_tier: {self.default_tier!r} is not one of the tiers")
        for field_name in ("sketched", "contrast", "work"):
            if unknown := [tier for tier in getattr(self, field_name) if tier not in self.tiers]:
                raise ManifestError(f"{field_name}: {unknown[0]!r} is not one of the tiers, {', '.join(self.tiers)}")
        if self.references and not self.reference_shape:
            raise ManifestError(f"references: {self.references}, but reference_shape does not say what is kept of each")
        for tier, contrast in self.contrast.items():
            if not 0 <= contrast <= 2:
                raise ManifestError(f"contrast: {tier}: {contrast} is not from 0 to 2")
        for tier, work in self.work.items():
            if not 0 < work < math.inf:
                raise ManifestError(f"work: {tier}: {work} is not above 0")

    @property
    def relative_work(self) -> dict[str, float]:
        """``work`` of every tier."""
        usual = _FRAME_STEPS + self.tiers[self.default_tier]
        return {tier: self.work.get(tier, (_FRAME_STEPS + steps) / usual) for tier, steps in self.tiers.items()}

    @property
    def latent_bytes(self) -> int:
        """Of one latent in its stored form, float16."""
        return 2 * math.prod(self.latent_shape)

    @property
    def reference_bytes(self) -> int:
        """Of what is kept of one reference picture."""
        return 2 * math.prod(self.reference_shape)

    def write(self, directory: Path) -> None:
        """Writes ``manifest.json`` into ``directory``."""
        plain = {"format_version": FORMAT_VERSION, **dataclasses.asdict(self)}
        (directory / "manifest.json").write_text(json.dumps(plain, indent=2) + "\n", encoding="utf-8")


def _number(value: object, least: int = 0) -> bool:
    return type(value) is int and least <= value < 1 << 31


def _shape(value: object) -> bool:
    return isinstance(value, tuple) and all(_number(size, 1) for size in value)


def _names(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(name, str) for name in value)


def _numbers(value: object) -> bool:
    return isinstance(value, dict) and all(type(number) in (int, float) for number in value.values())


_KINDS: tuple[tuple[str, str, Callable[[object], bool]], ...] = (
    *((name, "text", lambda value: isinstance(value, str)) for name in ("name", "version", "digest", "license")),
    *((name, "whole number from 0", _number) for name in ("width", "height", "window", "references")),
    ("default_tier", "tier's name", lambda value: isinstance(value, str)),
    ("latent_shape", "three sizes", lambda value: _shape(value) and len(value) == 3),  # type: ignore[arg-type]
    ("greybox_shape", "two sizes", lambda value: _shape(value) and len(value) == 2),  # type: ignore[arg-type]
    ("reference_shape", "list of sizes", _shape),
    *((name, "list of names", _names) for name in ("costumes", "looks", "emotions", "files", "sketched")),
    ("tiers", "table of whole numbers", lambda value: _numbers(value) and all(map(_number, value.values()))),  # type: ignore[attr-defined]
    *((name, "table of numbers", _numbers) for name in ("contrast", "work")),
    *(
        (name, "table", lambda value: isinstance(value, dict))
        for name in ("architecture", "data", "training", "quality")
    ),
)
"""What a field's value must be: JSON says nothing of kinds, and the weights' digest nothing of the manifest."""


def read_manifest(directory: Path) -> Manifest:
    """Reads ``directory/manifest.json``. Raises ``ManifestError`` if it is missing, of another version or malformed."""
    path = directory / "manifest.json"
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ManifestError(f"{path}: {error}") from error
    found = plain.pop("format_version", None) if isinstance(plain, dict) else None
    if found != FORMAT_VERSION:
        later = isinstance(found, int) and found > FORMAT_VERSION
        raise ManifestError(
            f"{path}: format_version: found {found!r}; this version reads {FORMAT_VERSION}: "
            + ("a later one made the model" if later else "train or adapt the model anew (docs/own-game.md)")
        )
    shapes = ("latent_shape", "greybox_shape", "reference_shape")
    for name in (*shapes, "costumes", "looks", "emotions", "files", "sketched"):
        if isinstance(plain.get(name), list):
            plain[name] = tuple(plain[name])
    try:
        manifest = Manifest(**plain)
    except (TypeError, AttributeError, ManifestError) as error:
        raise ManifestError(f"{path}: {error}") from error
    for name in manifest.files:
        if not isinstance(name, str) or name != Path(name).name:
            raise ManifestError(f"{path}: files: {name!r} is outside of the model's folder")
    return manifest


def weights_digest(directory: Path, files: tuple[str, ...]) -> str:
    """BLAKE2b-256 over the named files' names and bytes, hex."""
    digest = hashlib.blake2b(digest_size=32)
    for name in files:
        digest.update(name.encode() + b"\0")
        digest.update((directory / name).read_bytes())
    return digest.hexdigest()
