"""What can be wrong with what a game's makers bring."""

from __future__ import annotations

from pathlib import Path


class OwnGameError(ValueError):
    """A file of theirs cannot be used: which file, which field of it, and what would be allowed."""

    def __init__(self, path: Path | str, field: str, description: str) -> None:
        super().__init__(f"{path}: {field}: {description}" if field else f"{path}: {description}")
        self.path = Path(path)
        self.field = field
        self.description = description


class CaptureError(OwnGameError):
    """The folder is not a capture, or a frame in it is not one that the contract allows."""


class MeshesError(OwnGameError):
    """The list of meshes, or a mesh that it names, cannot be read."""
