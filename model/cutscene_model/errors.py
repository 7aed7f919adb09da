"""What the model refuses: every exception of this package that a caller may want to catch."""

from __future__ import annotations


class ModelError(Exception):
    """Base of the errors below."""


class UnknownCostumeError(ModelError, ValueError):
    """A cast member's costume is not in the model's vocabulary."""


class UnknownLookError(ModelError, ValueError):
    """An element's or prop's look is not in the model's vocabulary."""


class TooManyLooksError(ModelError, ValueError):
    """The set and props have more distinct (class, look, tint) than there are slots."""


class ReferencesError(ModelError, ValueError):
    """The stage's reference pictures are more than the model takes, or not what it keeps of one."""


class EngineError(ModelError):
    """What is to draw cannot be had: no such function, or a device that this machine has not."""


class WeightsError(ModelError):
    """Weights are missing, damaged, or do not match their manifest."""
