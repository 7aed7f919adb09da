"""The scheduler as a whole, in simulated time: what was promised is kept, nobody starves, tiers come to rest."""

from __future__ import annotations

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from cutscene_server.scheduling import Rank
from cutscene_server.scheduling.queue import SHARES
from simulated_server import SLOTS, TIERS, Player, SimulatedServer

COSTS = {"draft": 20_000, "standard": 30_000, "high": 50_000}

# A failing simulation is shown as it was found: making it smaller would take many minutes.
simulations = settings(max_examples=25, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])

costs = st.tuples(st.integers(2_000, 40_000), st.floats(1.0, 2.0), st.floats(1.0, 2.0)).map(
    lambda drawn: {
        "draft": drawn[0], "standard": round(drawn[0] * drawn[1]), "high": round(drawn[0] * drawn[1] * drawn[2]),
    }
)  # fmt: skip


@st.composite
def players(draw: st.DrawFn, rank: Rank = Rank.PACED, most: int = 12) -> list[Player]:
    found = []
    for number in range(draw(st.integers(1, most))):
        low, high = sorted(draw(st.lists(st.integers(0, 2), min_size=2, max_size=2)))
        found.append(
            Player(
                f"{rank.name.lower()}-{number}", rank, fps=draw(st.floats(1.0, 40.0)), lowest=list(TIERS)[low],
                highest=list(TIERS)[high], starts_us=draw(st.integers(0, 3_000_000)),
                latency_us=(SLOTS + 1) * 160_000,
            )
        )  # fmt: skip
    return found


@simulations
@given(costs, players(), players(Rank.UNPACED, 3), players(Rank.BACKGROUND, 3))
def test_whoever_is_admitted_misses_no_deadline_whatever_else_is_asked_for(
    costs_us: dict[str, int], paced: list[Player], unpaced: list[Player], background: list[Player]
) -> None:
    server = SimulatedServer(costs_us)
    server.learn()
    admitted = [player for player in paced if server.admit(player)]
    for player in (*unpaced, *background):
        server.admit(player)
    assert server.places.load <= 0.85
    server.run(8)
    for player in admitted:
        assert player.misses == 0
        assert player.frames >= (8 - player.starts_us / 1e6 - player.latency_us / 1e6 - 2 / player.fps) * player.fps - 2


@simulations
@given(costs, players(most=8), players(Rank.UNPACED, 4), players(Rank.BACKGROUND, 4))
def test_nobody_starves_even_if_more_was_promised_than_there_is(
    costs_us: dict[str, int], paced: list[Player], unpaced: list[Player], background: list[Player]
) -> None:
    server = SimulatedServer(costs_us)
    for player in paced:  # by a hopeful prior; then frames are much dearer
        server.admit(player)
    server.costs_us = {tier: 20 * cost for tier, cost in costs_us.items()}
    server.learn()
    for player in (*unpaced, *background):
        server.admit(player)
    server.run(30)
    dearest = max(server.costs_us.values())
    promised = [player for player in paced if player.name in server.players]
    for player in promised:
        # Every other paced session once, and the other ranks' shares of that.
        others = len(promised) - 1
        assert player.overdue_picks <= others + 2 + others // 2
    for rank, waiting in ((Rank.UNPACED, unpaced), (Rank.BACKGROUND, background)):
        for player in waiting:
            bound = len(waiting) * (SHARES[rank] + 3) * dearest + (len(paced) + 1) * dearest
            assert player.worst_wait_us <= bound


def test_a_replay_and_an_unpaced_session_fill_what_is_left_and_take_nothing_else() -> None:
    server = SimulatedServer(COSTS)
    server.learn()
    live = [Player(f"live-{number}", fps=5.0, lowest="high") for number in range(3)]
    assert all(server.admit(player) for player in live)
    server.admit(Player("unpaced", Rank.UNPACED))
    server.admit(Player("replay", Rank.BACKGROUND))
    server.run(60)
    assert [player.misses for player in live] == [0, 0, 0]
    assert all(299 <= player.frames <= 302 for player in live)
    assert server.busy_us >= 0.999 * 60e6
    unpaced, replay = server.players["unpaced"], server.players["replay"]
    assert 0.2 * 60e6 <= (unpaced.frames + replay.frames) * 50_000 <= 0.26 * 60e6
    assert 1 <= replay.frames <= unpaced.frames / 10  # only its share: the unpaced one always wants more


def test_frames_of_one_session_come_evenly_beside_others() -> None:
    server = SimulatedServer(COSTS)
    server.learn()
    for number in range(8):
        server.admit(Player(f"live-{number}", fps=3.3, lowest="standard", highest="standard", starts_us=number * 7_000))
    server.run(30)
    for player in server.players.values():
        assert player.misses == 0
        gaps = sorted(b - a for a, b in zip(player.finishes_us[4:], player.finishes_us[5:], strict=False))
        assert gaps[-1] <= 1.3 * gaps[len(gaps) // 2]


def test_an_admitted_crowd_is_drawn_at_the_tier_that_fits_and_rises_again_when_it_has_gone() -> None:
    server = SimulatedServer(COSTS)
    server.learn()
    stays = Player("stays", fps=6.0)
    server.admit(stays)
    crowd = [Player(f"crowd-{number}", fps=6.0, starts_us=5_000_000, ends_us=25_000_000) for number in range(6)]
    assert [server.admit(player) for player in crowd] == [True] * 6  # 42 frames/s of 20 ms
    assert not server.admit(Player("one too many", fps=6.0))
    server.run(4.9)
    assert server.tiers.tier("stays") == "high"
    server.run(20)
    assert server.tiers.load(server.now_us) <= 0.85
    assert server.tiers.tier("stays") == "draft"
    server.run(20)
    assert server.tiers.tier("stays") == "high"
    assert [player.misses for player in server.players.values()] == [0] * 7


def test_a_session_that_opens_on_a_cold_server_is_soon_drawn_as_it_asked() -> None:
    """Its first frames take half a second each; later ones three quarters of the process's time."""
    server = SimulatedServer(dict.fromkeys(COSTS, 500_000))
    alone = Player("alone", fps=18.5, highest="standard")
    assert server.admit(alone)
    server.run(2)
    assert server.tiers.tier("alone") == "draft"
    server.costs_us = {"draft": 20_000, "standard": 40_000, "high": 60_000}
    server.run(60)
    assert server.tiers.tier("alone") == "standard"
    misses, frames = alone.misses, alone.frames
    server.run(60)
    assert (alone.misses, alone.frames - frames) == (misses, 1110)
    assert len(server.changes) == 2


def test_a_slow_minute_costs_a_session_its_tier_for_a_while_and_not_for_ever() -> None:
    server = SimulatedServer(COSTS)
    server.learn()
    assert server.admit(Player("alone", fps=20.0, highest="standard"))
    server.run(10)
    server.costs_us = {tier: 4 * cost for tier, cost in COSTS.items()}
    server.run(60)
    assert server.tiers.tier("alone") == "draft"
    server.costs_us = dict(COSTS)
    server.run(60)
    assert server.tiers.tier("alone") == "standard"


def test_a_server_that_refused_everybody_in_a_slow_minute_takes_them_in_after_it() -> None:
    server = SimulatedServer(COSTS)
    server.learn()
    first = Player("first", fps=20.0, ends_us=60_000_000)
    assert server.admit(first)
    server.costs_us = {tier: 4 * cost for tier, cost in COSTS.items()}
    server.run(61)
    server.places.give_back("first")
    assert not server.admit(Player("second", fps=20.0))
    server.costs_us = dict(COSTS)
    server.run(40)
    assert server.admit(Player("third", fps=20.0))


@simulations
@given(costs, players(most=6))
def test_with_costs_as_they_are_modelled_tiers_come_to_rest(costs_us: dict[str, int], paced: list[Player]) -> None:
    server = SimulatedServer(costs_us)
    server.learn()
    admitted = [player for player in paced if server.admit(player)]
    server.run(20)
    steps = 2 * len(admitted)  # each session has two steps at most to go down, and two to come up
    assert len(server.changes) <= 2 * steps
    # Once lowered, a session is raised only if it will stay there: nobody comes down again after going up.
    raised = set()
    for _, change in server.changes:
        assert not (change.lower and change.key in raised)
        if not change.lower:
            raised.add(change.key)
    before = len(server.changes)
    server.run(10)
    assert not any(change.lower for _, change in server.changes[before:])


@settings(simulations, max_examples=4)
@given(st.integers(0, 1000), st.floats(1.2, 3.0))
def test_costs_that_come_and_go_make_tiers_change_ever_more_rarely(phase: int, swing: float) -> None:
    """The machine is slow every other ten seconds: patience grows, and changes become rare."""
    server = SimulatedServer(COSTS)
    server.learn()
    for number in range(3):
        server.admit(Player(f"live-{number}", fps=4.5, starts_us=phase * number))
    counts = []
    for _ in range(4):
        before = len(server.changes)
        for _ in range(15):
            server.costs_us = {tier: round(cost * swing) for tier, cost in COSTS.items()}
            server.run(10)
            server.costs_us = dict(COSTS)
            server.run(10)
        counts.append(len(server.changes) - before)
    assert counts[-1] <= 12  # of five minutes' thirty swings: without patience it would be up to 180
    assert counts[-1] <= max(counts[0], 6)
