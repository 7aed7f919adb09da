"""Scripts by name or by path: those that ship in ``scripts/``, and people's own."""

from __future__ import annotations

import contextlib
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from cutscene_client.captured import load_captured
from cutscene_client.expand import Expansion, expand
from cutscene_client.references import ReferencePictureError, read_references
from cutscene_client.script import Script, ScriptError, load_script, read_script

FOLDER = resources.files("cutscene_client") / "scripts"


def names() -> list[str]:
    """The shipped scripts, in order."""
    return sorted(entry.name.removesuffix(".yaml") for entry in FOLDER.iterdir() if entry.name.endswith(".yaml"))


def load(script: str) -> Script:
    """A script by the path of its file, or by the name of a shipped one. Raises ``ScriptError``."""
    if _is_path(script):
        return load_script(Path(script))
    if script not in names():
        raise ScriptError(
            script, [f"no such file, and no shipped script of that name; shipped are {', '.join(names())}"]
        )
    return read_script((FOLDER / f"{script}.yaml").read_text(encoding="utf-8"), script)


def load_expansion(script: str) -> Expansion:
    """A script ready to be played, with the files beside it that it names: what was captured, reference pictures.

    Raises ``ScriptError``.
    """
    read = load(script)
    if read.captured is None:
        expansion = expand(read)
    else:
        beside = _beside(script, "captured", read.captured)
        try:
            expansion = load_captured(read, beside.read_bytes(), read.captured)
        except OSError as error:
            raise ScriptError(script, [f"captured: {error}"]) from error
    files = [_beside(script, f"references[{index}]", name) for index, name in enumerate(read.references)]
    try:
        with contextlib.ExitStack() as held:
            paths = [held.enter_context(resources.as_file(file)) for file in files]
            expansion.open_request.references.extend(read_references(paths))
    except ReferencePictureError as error:
        raise ScriptError(script, [str(error)]) from error
    except OSError as error:
        raise ScriptError(script, [f"references: {error}"]) from error
    return expansion


def _beside(script: str, place: str, name: str) -> Traversable:
    """The file of that name beside a script, which may be a shipped one."""
    if "/" in name or "\\" in name:
        raise ScriptError(script, [f"{place}: the file must lie beside the script; give its name alone"])
    return Path(script).parent / name if _is_path(script) else FOLDER / name


def _is_path(script: str) -> bool:
    return "/" in script or script.endswith((".yaml", ".yml", ".json")) or Path(script).is_file()
