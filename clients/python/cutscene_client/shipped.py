"""Scripts by name or by path: those that ship in ``scripts/``, and people's own."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from cutscene_client.captured import load_captured
from cutscene_client.expand import Expansion, expand
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
    """A script ready to be played, with the captured file beside it where it names one. Raises ``ScriptError``."""
    read = load(script)
    if read.captured is None:
        return expand(read)
    if "/" in read.captured or "\\" in read.captured:
        raise ScriptError(script, ["captured: the file must lie beside the script; give its name alone"])
    try:
        beside = Path(script).parent / read.captured if _is_path(script) else FOLDER / read.captured
        return load_captured(read, beside.read_bytes(), read.captured)
    except OSError as error:
        raise ScriptError(script, [f"captured: {error}"]) from error


def _is_path(script: str) -> bool:
    return "/" in script or script.endswith((".yaml", ".yml", ".json")) or Path(script).is_file()
