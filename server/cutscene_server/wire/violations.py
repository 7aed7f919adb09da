"""Collecting what is wrong with a message, field by field, and the checks of single values that collect it."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Collection, Sized

from cutscene_server.errors import FieldViolation, InvalidRequest

MAX_VIOLATIONS = 32  # more would tell a client nothing new, and a million of them must not cost a million strings
SHOWN_CHARACTERS = 60  # of a client's own text in a description

NAME_PATTERN = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


class Full(Exception):
    """As many violations as are reported have been found: there is no use in looking further."""


class Violations:
    """What was found wrong so far."""

    def __init__(self) -> None:
        self.found: list[FieldViolation] = []

    def add(self, field: str, description: str) -> None:
        """Notes a violation. Raises ``Full`` with the last one that is reported."""
        self.found.append(FieldViolation(field, description))
        if len(self.found) >= MAX_VIOLATIONS:
            raise Full

    def raise_if_any(self) -> None:
        if self.found:
            raise InvalidRequest(self.found)


class Range:
    """An allowed range, ends included. The wire's numbers are float32: 0.1 comes as 0.10000000149, so the ends are
    rounded likewise before they are compared.
    """

    def __init__(self, low: float, high: float, unit: str = "") -> None:
        self.low, self.high = _as_float32(low), _as_float32(high)
        self._text = f"{low:g} to {high:g}{' ' + unit if unit else ''}"

    def check(self, violations: Violations, path: str, value: float) -> float:
        if not self.low <= value <= self.high:  # NaN is not
            violations.add(path, f"found {value:g}; allowed are {self._text}")
            return self.low
        return value

    def text(self) -> str:
        return self._text


def check_name(violations: Violations, path: str, text: str) -> str:
    """A name that a client chose."""
    if not NAME_PATTERN.fullmatch(text):
        violations.add(path, f"found {shown(text)}; allowed are 1 to 64 characters of [A-Za-z0-9_-]")
    return text


def check_vocabulary(violations: Violations, path: str, text: str, vocabulary: Collection[str], kind: str) -> str:
    """A name that the model must know."""
    if text not in vocabulary:
        violations.add(path, f"found {shown(text)}, which is not a {kind} of this model; ListModels names them")
    return text


def check_count(violations: Violations, path: str, items: Sized, low: int, high: int) -> bool:
    """Whether a repeated field has an allowed length. Asked before it is walked: a million items cost nothing."""
    if low <= len(items) <= high:
        return True
    violations.add(path, f"found {len(items)} items; allowed are {low} to {high}")
    return False


def require(violations: Violations, path: str, present: bool) -> bool:
    """Whether a field that has no default is there."""
    if not present:
        violations.add(path, "is missing; it is required")
    return present


def unit_length(violations: Violations, path: str, parts: tuple[float, ...]) -> tuple[float, ...]:
    """``parts`` brought to exact unit length, if they have it within 1e-3."""
    norm = math.sqrt(sum(part * part for part in parts)) if all(map(math.isfinite, parts)) else math.nan
    if not abs(norm - 1.0) <= 1e-3:
        found = ", ".join(f"{part:g}" for part in parts)
        violations.add(path, f"found ({found}) of length {norm:g}; allowed is unit length within 0.001")
        return parts
    return tuple(part / norm for part in parts)


def shown(text: str) -> str:
    """A client's own text, safe and short enough to send back."""
    return ascii(text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "...")


def _as_float32(value: float) -> float:
    rounded: float = struct.unpack("<f", struct.pack("<f", value))[0]
    return rounded
