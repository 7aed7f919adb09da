"""The report: one page that needs nothing else, says what was missed, and names every figure."""

from __future__ import annotations

import dataclasses
import io
import json
import re

import av
import numpy as np
import pytest

pytest.importorskip("panda3d")

from cutscene_model.engine import TIERS, Pixels
from cutscene_model.training.charts import Line, line_chart, ticks
from cutscene_model.training.clips import SideBySide
from cutscene_model.training.director import Performance, Shot
from cutscene_model.training.evaluation import PlayedFrame, scored, up_to
from cutscene_model.training.figures import FIGURES, GOALS
from cutscene_model.training.gallery import Gallery
from cutscene_model.training.identity import ActorColor
from cutscene_model.training.long_session import LongSession, plan
from cutscene_model.training.regions import regions_of
from cutscene_model.training.report import report
from cutscene_model.training.results import PlayedPerformance, Results
from cutscene_model.training.scores import AUTOENCODER
from small_scenes import stage, state
from synthetic_engine import MANIFEST

SHOTS = (Shot(0, 4, "wide"), Shot(4, 8, "close_up"), Shot(8, 30, "two_shot"))
FRAMES = 8


def performance() -> Performance:
    return Performance(3, "guard_room", 0, "talk", "day", stage(), SHOTS, lambda frame: state(0.01 * frame))


def played_frames() -> list[PlayedFrame]:
    """Noise for pictures, less of it at higher tiers."""
    random = np.random.default_rng(0)
    ids = np.full((288, 512), 6, np.uint8)
    ids[60:, 130:200] = 1
    ids[60:, 310:380] = 2
    one, frames = performance(), []
    for frame in range(FRAMES):
        reference = random.integers(60, 190, (288, 512, 3), np.uint8)

        def noisy(level: int, picture: Pixels = reference) -> Pixels:
            noise: Pixels = random.integers(0, level, picture.shape, np.uint8)
            return picture + noise

        pictures = {tier: noisy(60 - 10 * index) for index, tier in enumerate(TIERS)} | {AUTOENCODER: noisy(10)}
        frames.append(PlayedFrame(one.shot_at(frame), frame, reference, regions_of(one.states(frame), ids), pictures))
    return frames


def long_session(tier: str) -> LongSession:
    one = performance()
    session = plan(one, 40)
    due = sorted(session.scored())
    colors = {frame: {0: ActorColor(2.0, 0.5), 1: ActorColor(3.0, 1.0)} for frame in due}
    drifted = {frame: 27.0 - 0.05 * frame for frame in due}
    return LongSession(one, tier, session, drifted, colors, {1: ActorColor(9.0, 8.0)})


@pytest.fixture(scope="module")
def results() -> Results:
    gallery, scores, clip = Gallery("standard"), [], SideBySide(24)
    for played, figures in scored(performance(), iter(played_frames()), lambda result, reference: 0.25):
        gallery.see(played, figures, up_to(FRAMES)(played.shot))
        scores.append(figures)
        clip.add(played.reference, played.pictures["standard"])
    film = PlayedPerformance(performance(), SHOTS[:2], tuple(scores), clip.finish())
    settings: dict[str, float | str] = {"seconds": 1 / 3, "performances": 1, "drift_frames": 40}
    sessions = {tier: long_session(tier) for tier in TIERS}
    fps = dict.fromkeys(TIERS, 12.5)
    return Results(
        MANIFEST, "a test", settings, TIERS, "standard", (film,), fps, sessions, gallery, ("VBench was <left> out.",)
    )


def test_the_page_fetches_nothing(results: Results) -> None:
    page = report(results)
    assert "://" not in page, "base64 has no colon, so that this is an address"
    assert "<script" not in page
    assert "@import" not in page
    assert "url(" not in page
    for source in re.findall(r'(?:src|href)="([^"]*)"', page):
        assert source.startswith(("data:image/jpeg;base64,", "data:video/mp4;base64,"))
    assert page.count("<video") == 1
    assert page.count("<img") > 8
    assert "VBench was &lt;left&gt; out." in page


def test_the_page_names_and_explains_every_figure(results: Results) -> None:
    page = report(results)
    for figure in FIGURES.values():
        assert f"<dt>{figure.label}" in page
    plain = results.to_plain()
    for who in (*plain["tiers"].values(), plain[AUTOENCODER]):
        assert set(who) - {"shots", "error_shares"} <= set(FIGURES)
        for figures in who["shots"].values():
            assert set(figures) <= set(FIGURES)
    assert set(plain["tiers"]["standard"]) >= set(FIGURES), "and every figure is measured"


def test_the_page_opens_with_goals_and_says_what_is_missed(results: Results) -> None:
    page = report(results)
    opening = page[: page.index("<h2>")]
    verdicts = results.verdicts()
    assert len(verdicts) == len(GOALS)
    missed = sum(not verdict.met for verdict in verdicts)
    assert missed
    assert opening.count(">missed<") == missed
    assert opening.count(">met<") == len(verdicts) - missed
    assert f"{missed} of {len(verdicts)} goals are missed" in opening
    assert {goal["figure"]: goal["met"] for goal in results.to_plain()["goals"] if goal["who"] == "session"} == {
        "drift_db": False
    }


def test_the_json_has_tiers_shots_and_sessions(results: Results) -> None:
    plain = json.loads(json.dumps(results.to_plain()))
    assert set(plain["tiers"]) == set(TIERS)
    assert set(plain["tiers"]["draft"]["shots"]) == {"wide", "close_up"}
    assert plain["tiers"]["draft"]["psnr_db"] < plain["tiers"]["high"]["psnr_db"] < plain[AUTOENCODER]["psnr_db"]
    session = plain["long_sessions"]["standard"]
    places = session["places"]
    assert session["drift_db"] == pytest.approx(0.05 * (places["late"] - places["early"]))
    assert session["identity_error"]["last"] == pytest.approx(2.5)
    assert [actor.get("forgotten") for actor in session["actors"]] == [None, {"error": 9.0, "shift": 8.0}]
    assert len(plain["performances"][0]["psnr_db"]["high"]) == FRAMES


def test_no_change_is_counted_across_a_cut(results: Results) -> None:
    changes = [frame.pictures["draft"].change for frame in results.frames]
    assert [change is None for change in changes] == [True, False, False, False] * 2


def test_a_long_session_comes_back_to_where_it_was() -> None:
    session = plan(performance(), 40)
    shown = [frame for stretch in session.stretches for frame in stretch]
    early, last = session.around(session.places.early), session.around(session.last)
    assert [shown[frame] for frame in early] == [shown[frame] for frame in last]
    assert last.stop == len(shown) == session.frames
    assert len(session.cuts) >= 2
    first, rest = session.stretches[0], session.stretches[1:-1]
    assert set(first) <= set(range(8, 30)), "the longest shot that is no close-up"
    assert all(set(stretch).isdisjoint(first) for stretch in rest)


def test_a_session_of_two_thousand_frames() -> None:
    shots = (Shot(0, 90, "wide"), Shot(90, 180, "close_up"), Shot(180, 300, "high"))
    session = plan(dataclasses.replace(performance(), shots=shots), 1500)
    assert (session.places.early, session.places.late, session.last) == (50, 1500, 2000)
    assert len(session.cuts) >= 5


def test_clips_are_films_of_both_pictures() -> None:
    clip = SideBySide(24)
    for _ in range(3):
        clip.add(np.full((288, 512, 3), 200, np.uint8), np.full((288, 512, 3), 40, np.uint8))
    with av.open(io.BytesIO(clip.finish()), "r") as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 3
    left, right = np.split(frames[0].astype(int), 2, axis=1)
    assert abs(left.mean() - 200) < 4
    assert abs(right.mean() - 40) < 4


def test_lines_break_where_there_is_nothing() -> None:
    chart = line_chart([Line("a < b", [(0, 1.0), (1, 2.0), (2, float("nan")), (3, 4.0)], 1)], "x", "y", marks=[2])
    assert "a &lt; b" in chart
    (path,) = re.findall(r'class="line"[^>]* d="([^"]*)"', chart)
    assert path.count("M") == 2
    assert 'class="cut"' in chart
    assert "Nothing to plot" in line_chart([Line("a", [(0, float("nan"))], 1)], "x", "y")


def test_ticks_are_round() -> None:
    assert ticks(0, 10) == [0, 2, 4, 6, 8, 10]
    assert ticks(23.6, 28.1) == [24, 25, 26, 27, 28]
    assert ticks(0, 1e-9)
