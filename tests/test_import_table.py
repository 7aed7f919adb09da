"""Who may import whom (design.md, section 6), read from the source with ``ast`` and enforced.

The table is by module prefix, the most specific one first, so that an exception is as visible as a rule.
"""

from __future__ import annotations

import ast
import functools
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOTS = {
    "cutscene_proto": ROOT / "proto",
    "cutscene_model": ROOT / "model",
    "cutscene_server": ROOT / "server",
    "cutscene_client": ROOT / "clients" / "python",
}
ENGINE_AND_DATA_TOOLS = {"panda3d", "direct", "gltf", "PIL", "av", "tqdm", "simplejpeg", "scipy", "msgpack"}


@dataclass(frozen=True)
class Rule:
    """What modules under ``prefix`` may import besides the standard library."""

    prefix: str
    ours: frozenset[str]
    third_party: frozenset[str]


def _rule(prefix: str, ours: set[str], third_party: set[str]) -> Rule:
    return Rule(prefix, frozenset(ours), frozenset(third_party))


TABLE = [
    _rule("cutscene_proto", {"cutscene_proto"}, {"google.protobuf", "grpc"}),
    _rule(
        "cutscene_model.training",
        {"cutscene_model"},
        {"torch", "numpy", "numba", "safetensors", *ENGINE_AND_DATA_TOOLS},
    ),
    _rule("cutscene_model", {"cutscene_model"}, {"torch", "numpy", "numba", "safetensors"}),
    _rule(
        "cutscene_client",
        {"cutscene_client", "cutscene_proto"},
        {"grpc", "google", "numpy", "simplejpeg", "av", "yaml", "pydantic", "tqdm", "PIL", "rich"},
    ),
]

SERVER_EDGE = {"cutscene_server.service", "cutscene_server.errors", "cutscene_server.__main__"}
"""The only modules of the server that know grpc."""

SERVER_WIRE = {"cutscene_server.wire", "cutscene_server.service"}
"""The only modules of the server that know the contract's message types (``__main__`` registers the service)."""

SERVER_TORCH = {"cutscene_server.worker"}
"""The only modules of the server that run in the inference process and so may load torch."""

SERVER_FILMS = {"cutscene_server.rendering.encoder": "av", "cutscene_server.rendering.outputs": "obstore"}
"""The only modules of the server that know films, in a process of their own, and S3-style stores, if one is used."""

SERVER_PICTURES = {"cutscene_server.reference_picture"}
"""The only module of the server that decodes pictures which clients send."""

SERVER_METRICS = {"cutscene_server.metrics", "cutscene_server.metrics_endpoint", "cutscene_server.running"}
"""The only modules of the server that know the metrics' library; ``running`` loads it if metrics are exported."""


def modules() -> dict[str, Path]:
    found: dict[str, Path] = {}
    for package, root in ROOTS.items():
        for path in sorted((root / package).rglob("*.py")):
            if "_pb2" in path.name:
                continue
            parts = list(path.relative_to(root).with_suffix("").parts)
            if parts[-1] == "__init__":
                parts.pop()
            found[".".join(parts)] = path
    return found


MODULES = modules()


def imports_of(path: Path, *, at_import_time: bool = False) -> set[str]:
    """Absolute dotted names that a file imports; with ``at_import_time`` only those that loading it imports."""
    names: set[str] = set()
    pending: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"), str(path))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            assert node.module is not None
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            pending.extend(node.orelse)
            continue
        if at_import_time and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        pending.extend(ast.iter_child_nodes(node))
    return names


def is_under(name: str, prefixes: set[str] | frozenset[str]) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


@functools.cache
def loaded_by(module: str) -> frozenset[str]:
    """Every package that importing ``module`` loads, as far as this repository's own modules lead to it."""
    loaded: set[str] = set()
    seen: set[str] = set()
    pending = [module]
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        loaded.add(name.split(".")[0])
        if name in MODULES:
            pending.extend(imports_of(MODULES[name], at_import_time=True))
        if "." in name:  # importing a.b.c runs a and a.b too
            pending.append(name.rpartition(".")[0])
    return frozenset(loaded)


def third_party(names: set[str]) -> set[str]:
    return {name for name in names if name.split(".")[0] not in sys.stdlib_module_names | {"__future__", *ROOTS}}


def ours(names: set[str]) -> set[str]:
    return {name for name in names if name.split(".")[0] in ROOTS}


def test_every_package_is_seen() -> None:
    assert {name.split(".")[0] for name in MODULES} == set(ROOTS)


@pytest.mark.parametrize("module", [name for name in MODULES if not name.startswith("cutscene_server")])
def test_package_imports_only_what_the_table_allows(module: str) -> None:
    rule = next(rule for rule in TABLE if is_under(module, {rule.prefix}))
    names = imports_of(MODULES[module])
    for name in ours(names):
        assert is_under(name, rule.ours), f"{module} imports {name}"
    if rule.prefix == "cutscene_model":
        assert not any(is_under(name, {"cutscene_model.training"}) for name in names), f"{module} imports training"
    for name in third_party(names):
        assert is_under(name, rule.third_party), f"{module} imports {name}"


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("cutscene_server")])
def test_server_imports_only_what_the_table_allows(module: str) -> None:
    names = imports_of(MODULES[module])
    for name in names:
        top = name.split(".")[0]
        assert top != "cutscene_client", f"{module} imports {name}"
        assert not is_under(name, {"cutscene_model.training"}), f"{module} imports {name}"
        if top in {"grpc", "grpc_health", "grpc_reflection", "grpc_status", "google"}:
            assert is_under(module, SERVER_EDGE), f"{module} imports {name}: grpc belongs at the edge"
        if top == "cutscene_proto":
            assert is_under(module, SERVER_WIRE | {"cutscene_server.__main__"}), f"{module} imports {name}"
        if top in {"torch", "safetensors"}:
            assert is_under(module, SERVER_TORCH), f"{module} imports {name}: torch belongs in the worker process"
        if top == "prometheus_client":
            assert is_under(module, SERVER_METRICS), f"{module} imports {name}"
        if top == "PIL":
            assert is_under(module, SERVER_PICTURES), f"{module} imports {name}"
        if top == "cutscene_model" and not is_under(module, SERVER_TORCH):
            assert "torch" not in loaded_by(name), f"{module} imports {name}, which loads torch"
    allowed = {"grpc", "grpc_health", "grpc_reflection", "grpc_status", "google", "torch", "safetensors", "numpy"}
    allowed |= {"msgpack", "uvloop", "simplejpeg", "blake3", "prometheus_client", "PIL"}
    allowed |= {SERVER_FILMS.get(module, "msgpack")}
    for name in third_party(names):
        assert is_under(name, allowed), f"{module} imports {name}"


def test_the_client_needs_no_torch() -> None:
    for module in MODULES:
        if is_under(module, {"cutscene_client"}):
            assert "torch" not in loaded_by(module)


def test_the_server_front_end_loads_without_torch_and_films() -> None:
    for module in MODULES:
        if is_under(module, {"cutscene_server"}) and not is_under(module, SERVER_TORCH):
            assert "torch" not in loaded_by(module), f"importing {module} loads torch"
            assert module == "cutscene_server.rendering.encoder" or not loaded_by(module) & {"av", "obstore"}, (
                f"importing {module} loads films"
            )


def test_a_server_without_metrics_loads_no_library_for_them() -> None:
    assert "prometheus_client" not in loaded_by("cutscene_server.running")
