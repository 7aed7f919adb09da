"""The dashboard and the alerts ask for metrics that a server really exports, and each metric is shown somewhere."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from cutscene_server.errors import reasons
from cutscene_server.running import run_server
from scraping import Samples, samples_of
from synthetic_server import synthetic_config

DOCS = Path(__file__).resolve().parents[2] / "docs"
METRIC = re.compile(r"\b(?:cutscene|process|python)_[a-z_]+\b")
GROUPED = re.compile(r"\b(?:by|without|ignoring|on)\s*\(([^)]*)\)")
MATCHER = re.compile(r'(\w+)=(~?)"([^"]*)"')


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((DOCS / "grafana.json").read_text(encoding="utf-8"))["panels"]
    return found


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((DOCS / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def expressions() -> dict[str, str]:
    """Every query by the name of its panel or alert."""
    shown = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in panels()
        for target in panel.get("targets", [])
    }
    return shown | {rule["alert"]: rule["expr"] for rule in rules()}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def samples() -> Samples:
    async with run_server(synthetic_config(metrics_listen="127.0.0.1:0")) as server:
        return await samples_of(server)


@pytest.mark.parametrize("name", list(expressions()))
@pytest.mark.asyncio(loop_scope="module")
async def test_every_metric_that_is_asked_for_is_exported(name: str, samples: Samples) -> None:
    expression = expressions()[name]
    exported = {sample for sample, _ in samples}
    asked = set(METRIC.findall(expression)) - {"cutscene"}
    assert asked or "up{" in expression
    assert asked <= exported
    for metric, matchers in re.findall(r"(\w+)\{([^}]*)\}", expression):
        for label, is_pattern, wanted in MATCHER.findall(matchers):
            if label in ("instance", "job"):
                continue  # Prometheus' own
            values = {dict(labels).get(label) for sample, labels in samples if sample == metric}
            for value in wanted.split("|") if is_pattern else [wanted]:
                assert value in values, f"{metric} has no {label} {value}"


@pytest.mark.parametrize("name", list(expressions()))
@pytest.mark.asyncio(loop_scope="module")
async def test_what_is_grouped_by_or_told_in_a_legend_is_a_label_of_the_metric(name: str, samples: Samples) -> None:
    """A label that no series has groups everything into one, and says nothing of it."""
    expression = expressions()[name]
    labels = {label.strip() for group in GROUPED.findall(expression) for label in group.split(",")}
    legends = [
        target.get("legendFormat", "")
        for panel in panels()
        for target in panel.get("targets", [])
        if name == f"{panel['title']} {target['refId']}"
    ]
    labels |= {label for legend in legends for label in re.findall(r"{{\s*(\w+)\s*}}", legend)}
    asked = set(METRIC.findall(expression))
    for label in labels - {"instance", "job"}:  # Prometheus' own
        assert any(label in dict(having) for sample, having in samples if sample in asked), label
    assert expression.count("(") == expression.count(")")


@pytest.mark.asyncio(loop_scope="module")
async def test_every_metric_of_ours_is_shown(samples: Samples) -> None:
    shown = " ".join(expressions().values()) + (DOCS / "grafana.json").read_text(encoding="utf-8")
    for sample in {sample for sample, _ in samples if sample.startswith("cutscene_")}:
        family = re.sub(r"_(bucket|sum|count)$", "", sample)
        if not family.startswith("cutscene_inference_process_"):  # what the operating system says; some of it is enough
            assert family in shown, f"nothing shows {family}"


def test_panels_neither_overlap_nor_lack_a_word_of_explanation() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
        assert panel["type"] == "row" or panel["description"]
    assert len({panel["id"] for panel in panels()}) == len(panels())


def test_the_page_explains_every_panel_alert_and_reason() -> None:
    page = (DOCS / "operations.md").read_text(encoding="utf-8")
    for rule in rules():
        assert f"| {rule['alert']} |" in page
    for reason in set(reasons()) - {"server_error"}:  # the root of the tree is never raised itself
        assert f"`{reason}`" in page
    for panel in panels():
        if panel["type"] != "row":
            assert panel["title"].split(",")[0] in page, panel["title"]
