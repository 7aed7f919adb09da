"""The command from end to end, with the shipped weights and as few frames as say something."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("panda3d")

from cutscene_model.training.__main__ import main
from cutscene_model.training.director import direct

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.slow
def test_the_command_writes_a_report(assets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "report"
    settings = ["--seconds", "0.2", "--performances", "1", "--tiers", "draft", "--drift-frames", "12"]
    assert main(["evaluate", "--assets", str(assets), "--out", str(out), *settings]) == 0
    assert "long session: drift" in capsys.readouterr().out
    plain = json.loads((out / "report.json").read_text())
    assert plain["frames"] == 5
    assert set(plain["tiers"]) == {"draft"}
    draft = plain["tiers"]["draft"]
    assert draft["psnr_db"] > 20
    assert draft["psnr_db"] < plain["autoencoder"]["psnr_db"]
    assert draft["flicker_ratio"] > 0
    assert 0 < draft["identity_error"] < 20
    assert abs(draft["drift_db"]) < 1
    assert any("LPIPS" in sentence for sentence in plain["left_out"])
    assert plain["performances"][0]["cast"]
    page = (out / "report.html").read_text()
    assert "://" not in page, "base64 has no colon, so that this is an address"
    assert "data:video/mp4;base64," in page


@pytest.mark.slow
def test_the_quality_benchmark_prints_its_keys(assets: Path) -> None:
    settings = ["--performances", "1", "--frames", "2", "--drift-frames", "12", "--json"]
    command = [sys.executable, str(ROOT / "benchmarks" / "quality.py"), "--assets", str(assets), *settings]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    figures = json.loads(done.stdout.splitlines()[-1])
    assert {"tier", "frames", "model", "autoencoder", "shots"} <= set(figures)
    before = {"psnr_db", "ssim", "actor_psnr_db", "gradient_energy_ratio", "psnr_p10_db"}
    assert before <= set(figures["model"])
    assert before <= set(figures["autoencoder"])
    assert {"drift_db", "flicker_ratio", "identity_error"} <= set(figures)
    for tier in ("draft", "standard", "high"):
        assert figures[tier]["fps"] > 0
        assert figures[tier]["psnr_db"] > 20


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("--seconds", "30", "out of range"),
        ("--performances", "0", "at least 1"),
        ("--drift-frames", "7", "at least 8"),
        ("--tiers", "draft,best", "each once"),
        ("--tiers", "high,high", "each once"),
    ],
)
def test_what_cannot_be_is_refused(option: str, value: str, reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["evaluate", "--out", "nowhere", option, value])
    assert reason in capsys.readouterr().err


def test_a_longer_performance_has_the_same_room_and_cast(assets: Path) -> None:
    for seed in (0, 2):
        usual, long = direct(assets, seed, held_out=True), direct(assets, seed, held_out=True, seconds=20.0)
        assert long.frames == 480 != usual.frames
        assert (long.room, long.variant, long.plot) == (usual.room, usual.variant, usual.plot)
        assert long.stage.cast == usual.stage.cast
