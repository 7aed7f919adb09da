"""What the pages name is there: commands with their options, files, names of the Python client."""

from __future__ import annotations

import ast
import contextlib
import io
import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path

import pytest

import cutscene_client as cc
from cutscene_client import cli
from cutscene_model.training import __main__ as training
from cutscene_server import __main__ as server

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "model" / "TRAINING.md")
PROGRAMS: dict[str, Callable[[Sequence[str]], int]] = {
    "cutscene": cli.main,
    "cutscene-server": server.main,
    "cutscene-train": lambda arguments: training.main(list(arguments)),
}
FENCE = re.compile(r"^```[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
FILE = re.compile(r"`((?:benchmarks|docs|proto|model|server|clients|tests)/[\w./-]+)`")

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def commands(text: str) -> list[list[str]]:
    """The words of every command that a page shows, in a block or in a line."""
    found = []
    shown = [line for block in FENCE.findall(text) for line in block.replace("\\\n", " ").splitlines()]
    shown += [" ".join(span.split()) for span in SPAN.findall(FENCE.sub("", text))]
    for line in shown:
        with contextlib.suppress(ValueError):  # half a sentence in quotation marks
            words = shlex.split(line, comments=True)
            for program in (*PROGRAMS, "python"):
                for at, word in enumerate(words):
                    if word.rpartition("/")[2] == program:
                        found.append([program, *words[at + 1 :]])
    return found


@cache
def help_of(program: str, command: str = "") -> str:
    """What ``--help`` says."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        PROGRAMS[program]([command, "--help"] if command else ["--help"])
    return said.getvalue()


def flags_of(paths: Iterable[Path]) -> set[str]:
    """Every option that these modules add."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in paths]
    texts = [node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    return {text for text in texts if isinstance(text, str) and FLAG.fullmatch(text)}


@cache
def flags_of_benchmarks() -> set[str]:
    return flags_of((ROOT / "benchmarks").rglob("*.py"))


def subcommands(program: str) -> set[str]:
    return set(re.findall(r"^ {2,4}([a-z]+)(?:\s|$)", help_of(program).partition("options:")[0], re.MULTILINE))


@pages
def test_every_command_has_the_options_that_it_is_given(page: Path) -> None:
    for program, *words in commands(page.read_text(encoding="utf-8")):
        flags = FLAG.findall(" ".join(words))
        if program == "python":
            if words and words[0].startswith("benchmarks/"):
                assert (ROOT / words[0]).is_file(), words
                assert set(flags) <= flags_of_benchmarks() | {"--help"}, words
            elif words[:1] == ["-m"]:
                source = ROOT / "model" / f"{words[1].replace('.', '/')}.py"
                assert set(flags) <= flags_of([source]), words
            continue
        command = ""
        if program != "cutscene-server" and words and re.fullmatch("[a-z]+", words[0]):
            command = words[0]
            assert command in subcommands(program), f"{program} {command}"
        said = help_of(program, command)
        for flag in flags:
            assert re.search(rf"{flag}(?![\w-])", said), f"{program} {command} has no {flag}"


@pages
def test_every_option_that_is_named_is_some_program_s(page: Path) -> None:
    known = flags_of_benchmarks() | {"--help"}
    for program in PROGRAMS:
        for command in ("", *(subcommands(program) if program != "cutscene-server" else ())):
            known |= set(FLAG.findall(help_of(program, command)))
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    named = {flag for span in SPAN.findall(text) for flag in FLAG.findall(span)}
    assert named <= known, named - known


@pages
def test_every_file_that_is_named_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for link in LINK.findall(text):
        assert (page.parent / link).exists(), link
    for name in FILE.findall(text):
        assert (ROOT / name).exists() or name.startswith("model/cutscene_model/weights"), name


@pages
def test_every_name_of_the_python_client_is_one(page: Path) -> None:
    for name in re.findall(r"\bcc\.([A-Za-z_]+)", page.read_text(encoding="utf-8")):
        assert hasattr(cc, name), f"cc.{name}"


def test_there_is_something_to_look_at() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert {program for program, *_ in commands(text)} == {*PROGRAMS, "python"}
    assert {"play", "top"} <= subcommands("cutscene")
    assert {"adapt", "evaluate"} <= subcommands("cutscene-train")
    assert "--keep-closed" in help_of("cutscene-server")
    assert LINK.search(text)
    assert FILE.search(text)
