"""``cutscene top``: a server's sessions, rates, tiers and latencies as one screen of the terminal."""

from __future__ import annotations

import asyncio
from typing import Protocol

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cutscene_client.errors import ServerUnreachable
from cutscene_client.stats import ServerStats, SessionStats

PLAIN_WIDTH = 112  # columns of a table that goes to no terminal
BAR_CELLS = 60
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
                live.update(screen(stats, client.address, trouble), refresh=True)
            await asyncio.sleep(interval_s)


def screen(stats: ServerStats, address: str, trouble: str = "") -> RenderableType:
    """All of it, from top to bottom."""
    return Group(_summary(stats, address, trouble), _stages(stats), _sessions(stats))


def plain_console() -> Console:
    """Where one table goes: as wide as the terminal, or as wide as it needs to be if it goes to none."""
    console = Console()
    return console if console.is_terminal else Console(width=PLAIN_WIDTH)


def _summary(stats: ServerStats, address: str, trouble: str) -> Panel:
    grid = Table.grid(padding=(0, 2), expand=True)
    for _ in range(3):
        grid.add_column(ratio=1)
    late = stats.late_frames / stats.frames if stats.frames else 0.0
    asked = stats.cache_hits + stats.cache_computed
    grid.add_row(
        _figure("drawn", f"{stats.frames_per_second:.1f} frames/s"),
        _figure("frames", f"{stats.frames:,}"),
        _figure("late", f"{stats.late_frames:,} ({late:.1%})", alarm=late > 0.01),
    )
    grid.add_row(
        _figure("frame", _pair(stats.frame_latency.p50_ms, stats.frame_latency.p99_ms)),
        _figure("loop lag", _pair(stats.loop_lag.p50_ms, stats.loop_lag.p99_ms), alarm=stats.loop_lag.p99_ms > 5.0),
        _figure("tiers", _tiers(stats)),
    )
    grid.add_row(
        _figure("sessions", f"{stats.sessions_in_memory}, {stats.attached_sessions} with a client"),
        _figure("queue", f"{stats.waiting_sessions} waiting, {stats.frames_in_flight} in flight"),
        _figure("refused", f"{stats.refusals:,}"),
    )
    grid.add_row(
        _figure("cache", f"{_bytes(stats.cache_held_bytes)}, {stats.cache_hits / asked if asked else 0:.0%} hits"),
        _figure("disk", f"{_bytes(stats.disk_bytes)} of {_bytes(stats.max_disk_bytes)}"),
        _figure("restarts", str(stats.inference_restarts), alarm=stats.inference_restarts > 0),
    )
    state = Text(trouble or ("serving" if stats.serving else "not serving"), "green" if not trouble else "bold red")
    if not trouble and not stats.serving:
        state.stylize("bold red")
    return Panel(
        grid,
        title=Text.assemble(("cutscene", "bold"), f" {address} ", (stats.model, "cyan"), " ", state),
        subtitle=f"up {_duration(stats.uptime_s)}",
        title_align="left",
        subtitle_align="right",
        border_style="bright_black",
    )


def _stages(stats: ServerStats) -> Table:
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
            _bar(figures.p50_ms, figures.p99_ms, longest, colour),
        )  # fmt: skip
    return table


def _sessions(stats: ServerStats) -> RenderableType:
    if not stats.sessions:
        return Text("  no sessions in memory", "bright_black")
    table = Table(box=box.SIMPLE_HEAD, expand=True, padding=(0, 1))
    for name, justify in (
        ("session", "left"), ("state", "left"), ("tier", "left"), ("fps", "right"), ("asked", "right"),
        ("p50 ms", "right"), ("p99 ms", "right"), ("late", "right"), ("frame", "right"), ("unacked", "right"),
        ("turns", "right"), ("sent", "right"),
    ):  # fmt: skip
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]  # a Literal
    for session in stats.sessions:
        table.add_row(*_row(session))
    hidden = stats.sessions_in_memory - len(stats.sessions)
    return Group(table, Text(f"  and {hidden:,} more", "bright_black")) if hidden > 0 else table


def _row(session: SessionStats) -> tuple[str | Text, ...]:
    slow = session.status == "performing" and 0 < session.frames_per_second < 0.95 * session.fps
    state = "throttled" if session.throttled else session.status
    return (
        session.id[:SHOWN_ID],
        Text(state + (" *" if session.background else ""), STATUS_COLOURS.get(state, "yellow")),
        session.tier,
        Text(f"{session.frames_per_second:.1f}", "bold yellow" if slow else "bold"),
        f"{session.fps:g}",
        _ms(session.frame_latency.p50_ms),
        _ms(session.frame_latency.p99_ms),
        Text(f"{session.late_frames:,}", "yellow" if session.late_frames else "default"),
        f"{session.next_frame:,}",
        f"{session.unacked_frames}/{session.frame_credit}",
        str(session.turns_waiting),
        _bytes(session.sent_bytes),
    )


def _figure(name: str, value: str | Text, *, alarm: bool = False) -> Text:
    return Text.assemble((f"{name:<9}", "bright_black"), Text(value, "bold red") if alarm else value)  # type: ignore[arg-type]


def _tiers(stats: ServerStats) -> str:
    total = sum(stats.tiers.values())
    return ", ".join(f"{name} {count / total:.0%}" for name, count in stats.tiers.items()) or "none drawn"


def _bar(p50: float, p99: float, longest: float, colour: str) -> Text:
    """The middle as a thick bar, the slow end as a thin one behind it."""
    if longest <= 0:
        return Text("")
    solid, whole = round(BAR_CELLS * p50 / longest), round(BAR_CELLS * p99 / longest)
    return Text("━" * solid, colour) + Text("─" * (whole - solid), colour)


def _pair(p50_ms: float, p99_ms: float) -> str:
    return f"{_ms(p50_ms)} ms, p99 {_ms(p99_ms)} ms"


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
