"""What benchmarks/peers.py makes of the moments at which frames came."""

from __future__ import annotations

from peers_hosts.figures import (
    TurnTimes,
    best_peer,
    free_figures,
    medians,
    misses,
    paced_figures,
    ratios,
)


def test_unpaced_figures_span_all_turns() -> None:
    early = TurnTimes(10.0, (11.0, 11.5, 12.0))
    late = TurnTimes(10.5, (12.5, 13.0, 14.0))
    figures = free_figures([early, late])
    assert figures["fps"] == 6 / 4.0
    assert figures["gap_p50_ms"] == 500.0
    assert figures["gap_p99_ms"] == 1000.0
    assert figures["later_turn_first_frame_ms"] == 1500.0


def test_a_frame_on_its_deadline_is_not_late() -> None:
    # At 4 frames/s with a quarter of a second beside: due at 0.5, 0.75, 1.0.
    assert misses(TurnTimes(0.0, (0.5, 0.75, 1.0)), 4.0, 0.25) == 0
    assert misses(TurnTimes(0.0, (0.5, 0.76, 1.0)), 4.0, 0.25) == 1


def test_one_stall_is_one_miss_and_a_second_stall_another() -> None:
    stalled = TurnTimes(0.0, (0.5, 1.75, 2.0, 2.25))  # one second behind from the second frame on
    assert misses(stalled, 4.0, 0.25) == 1
    again = TurnTimes(0.0, (0.5, 1.75, 2.0, 2.5))
    assert misses(again, 4.0, 0.25) == 2


def test_paced_figures_of_nobody_are_all_refused() -> None:
    figures = paced_figures([], 4.0, 0.3, refused=2)
    assert figures["paced_frames"] == 0
    assert figures["paced_miss_share"] == 0.0
    assert figures["paced_refused"] == 2


def test_paced_misses_are_a_share_of_all_frames() -> None:
    turns = [TurnTimes(0.0, (0.5, 5.0)), TurnTimes(0.0, (0.5, 0.75))]
    assert paced_figures(turns, 4.0, 0.25, refused=0)["paced_miss_share"] == 0.25


def test_medians_are_of_the_rounds_that_have_a_figure() -> None:
    rounds = [{"fps": 1.0}, {"fps": 9.0}, {"fps": 2.0, "paced_misses": 4.0}]
    assert medians(rounds) == {"fps": 2.0, "paced_misses": 4.0}


def test_the_best_peer_may_be_another_one_for_each_figure() -> None:
    ours = {"fps": 12.0, "gap_p99_ms": 30.0, "later_turn_first_frame_ms": 50.0}
    peers = {
        "quick": {"fps": 10.0, "gap_p99_ms": 60.0, "later_turn_first_frame_ms": 200.0},
        "even": {"fps": 8.0, "gap_p99_ms": 40.0, "later_turn_first_frame_ms": 100.0},
    }
    assert best_peer(peers, "fps", highest=True) == "quick"
    assert ratios(ours, peers) == {
        "best_peer_fps_ratio": 1.2,
        "best_peer_fps_ratio_peer": "quick",
        "best_peer_p99_ratio": 0.75,
        "best_peer_p99_ratio_peer": "even",
        "best_peer_later_turn_ratio": 0.5,
        "best_peer_later_turn_ratio_peer": "even",
    }


def test_without_peers_there_are_no_ratios() -> None:
    ours = {"fps": 12.0, "gap_p99_ms": 30.0, "later_turn_first_frame_ms": 50.0}
    assert set(ratios(ours, {}).values()) == {None}
