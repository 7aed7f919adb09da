"""``cutscene top``: a server's sessions, rates, tiers and latencies as one screen of the terminal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cutscene_client.errors import ServerUnreachable
from cutscene_client.stats import LatencyFigures, ServerStats, SessionStats

PLAIN_WIDTH = 112  # columns of a table that goes to no terminal
WIDE = 112  # columns from which on everything is shown
MOST_BAR_CELLS = 60
BESIDE_BARS = 34  # columns: the stages' names and figures
SHOWN_ID = 8  # as much of a session's id as the other commands need to find it
STAGE_COLOURS = {
    "queued": "yellow", "greybox": "blue", "denoise": "magenta", "decode": "cyan", "store": "green", "deliver": "white",
}  # fmt: skip
STATUS_COLOURS = {"performing": "green", "idle": "default", "detached": "yellow", "closed": "bright_black"}


class Watched(Protocol):
    """What is shown: a connected ``Client``, or what stands for one."""

    @property
    def address(self) -> str:
        """Of its server."""

    async def stats(self) -> ServerStats:
        """Raises ``ServerUnreachable``."""


async def watch(client: Watched, console: Console, interval_s: float) -> None:
    """Shows the server, anew every ``interval_s`` seconds, until it is cancelled. A server that goes is waited for."""
    stats, trouble = None, ""
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            try:
                stats, trouble = await client.stats(), ""
            except ServerUnreachable as error:
                trouble = f"{error}; trying again"
            if stats is not None:
                live.update(Screen(stats, client.address, trouble), refresh=True)
            await asyncio.sleep(interval_s)


@dataclass(frozen=True, slots=True)
class Screen:
    """All of it, from top to bottom. A narrow terminal gets fewer columns, and none that is cut off."""

    stats: ServerStats
    address: str
    trouble: str = ""  # why there are no newer figures; empty: there are

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """What rich calls."""
        narrow = options.max_width < WIDE
        yield _summary(self, 2 if narrow else 3)
        yield _stages(self.stats, min(MOST_BAR_CELLS, options.max_width - BESIDE_BARS))
        yield _sessions(self.stats, narrow=narrow)


def plain_console() -> Console:
    """Where one table goes: as wide as the terminal, or as wide as it needs to be if it goes to none."""
    console = Console()
    return console if console.is_terminal else Console(width=PLAIN_WIDTH)


def _summary(screen: Screen, columns: int) -> Panel:
    stats, trouble = screen.stats, screen.trouble
    late = stats.late_frames / stats.frames if stats.frames else 0.0
    asked = stats.cache_hits + stats.cache_computed
    figures = [
        _figure("drawn", f"{stats.frames_per_second:.1f} frames/s"),
        _figure("frames", f"{stats.frames:,}"),
        _figure("late", f"{stats.late_frames:,} ({late:.1%})", alarm=late > 0.01),
        _figure("frame", _pair(stats.frame_latency)),
        _figure("loop lag", _pair(stats.loop_lag), alarm=stats.loop_lag.p99_ms > 5.0),
        _figure("tiers", _tiers(stats)),
        _figure("sessions", f"{stats.sessions_in_memory}, {stats.attached_sessions} with a client"),
        _figure("queue", f"{stats.waiting_sessions} waiting, {stats.frames_in_flight} in flight"),
        _figure("refused", f"{stats.refusals:,}"),
        _figure("cache", f"{_bytes(stats.cache_held_bytes)}, {stats.cache_hits / asked if asked else 0:.0%} hits"),
        _figure("disk", f"{_bytes(stats.disk_bytes)} of {_bytes(stats.max_disk_bytes)}"),
        _figure("restarts", str(stats.inference_restarts), alarm=stats.inference_restarts > 0),
    ]
    grid = Table.grid(padding=(0, 2), expand=True)
    for _ in range(columns):
        grid.add_column(ratio=1)
    for row in range(0, len(figures), columns):
        grid.add_row(*figures[row : row + columns])
    state = Text(trouble or ("serving" if stats.serving else "not serving"), "green" if not trouble else "bold red")
    if not trouble and not stats.serving:
        state.stylize("bold red")
    return Panel(
        grid,
        title=Text.assemble(("cutscene", "bold"), f" {screen.address} ", (stats.model, "cyan"), " ", state),
        subtitle=f"up {_duration(stats.uptime_s)}",
        title_align="left",
        subtitle_align="right",
        border_style="bright_black",
    )


def _stages(stats: ServerStats, bar_cells: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, expand=True, padding=(0, 1))
    table.add_column("stage", no_wrap=True)
    table.add_column("p50 ms", justify="right", no_wrap=True)
    table.add_column("p99 ms", justify="right", no_wrap=True)
    table.add_column("", ratio=1, no_wrap=True)
    longest = max((figures.p99_ms for figures in stats.stages.values()), default=0.0)
    for stage, figures in stats.stages.items():
        colour = STAGE_COLOURS.get(stage, "default")
        table.add_row(
            Text(stage, colour), _ms(figures.p50_ms), _ms(figures.p99_ms),
            _bar(figures.p50_ms, figures.p99_ms, longest, colour, bar_cells),
        )  # fmt: skip
    return table


def _sessions(stats: ServerStats, *, narrow: bool) -> RenderableType:
    if not stats.sessions:
        return Text("  no sessions in memory", "bright_black")
    table = Table(box=box.SIMPLE_HEAD, expand=True, padding=(0, 1))
    shown = [column for column in COLUMNS if not (narrow and column.when_wide)]
    for column in shown:
        table.add_column(column.name, justify=column.justify, no_wrap=True)
    for session in stats.sessions:
        table.add_row(*(column.value(session) for column in shown))
    hidden = stats.sessions_in_memory - len(stats.sessions)
    return Group(table, Text(f"  and {hidden:,} more", "bright_black")) if hidden > 0 else table


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    value: Callable[[SessionStats], str | Text]
    justify: Literal["left", "right"] = "right"
    when_wide: bool = False


def _state(session: SessionStats) -> Text:
    state = "throttled" if session.throttled else session.status
    return Text(state + (" *" if session.background else ""), STATUS_COLOURS.get(state, "yellow"))


def _rate(session: SessionStats) -> Text:
    slow = session.status == "performing" and 0 < session.frames_per_second < 0.95 * session.fps
    return Text(f"{session.frames_per_second:.1f}", "bold yellow" if slow else "bold")


def _late(session: SessionStats) -> Text:
    return Text(f"{session.late_frames:,}", "yellow" if session.late_frames else "default")


COLUMNS = (
    _Column("session", lambda session: session.id[:SHOWN_ID], "left"),
    _Column("state", _state, "left"),
    _Column("tier", lambda session: session.tier, "left"),
    _Column("fps", _rate),
    _Column("asked", lambda session: f"{session.fps:.4g}"),
    _Column("p50 ms", lambda session: _ms(session.frame_latency.p50_ms), when_wide=True),
    _Column("p99 ms", lambda session: _ms(session.frame_latency.p99_ms)),
    _Column("late", _late),
    _Column("frame", lambda session: f"{session.next_frame:,}"),
    _Column("unacked", lambda session: f"{session.unacked_frames}/{session.frame_credit}", when_wide=True),
    _Column("turns", lambda session: str(session.turns_waiting), when_wide=True),
    _Column("sent", lambda session: _bytes(session.sent_bytes), when_wide=True),
)


def _figure(name: str, value: str | Text, *, alarm: bool = False) -> Text:
    return Text.assemble((f"{name:<9}", "bright_black"), Text(value, "bold red") if alarm else value)  # type: ignore[arg-type]


def _tiers(stats: ServerStats) -> str:
    total = sum(stats.tiers.values())
    return ", ".join(f"{name} {count / total:.0%}" for name, count in stats.tiers.items()) or "none drawn"


def _bar(p50: float, p99: float, longest: float, colour: str, cells: int) -> Text:
    """The middle as a thick bar, the slow end as a thin one behind it."""
    if longest <= 0:
        return Text("")
    solid, whole = round(cells * p50 / longest), round(cells * p99 / longest)
    return Text("━" * solid, colour) + Text("─" * (whole - solid), colour)


def _pair(latency: LatencyFigures) -> str:
    return f"{_ms(latency.p50_ms)} ms, p99 {_ms(latency.p99_ms)} ms"


def _ms(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def _bytes(value: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= size:
            return f"{value / size:.1f} {unit}"
    return f"{value} B"


def _duration(seconds: float) -> str:
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days} d {hour} h"
    return f"{hour} h {minute:02d} min" if hour else f"{minute} min {second:02d} s"
