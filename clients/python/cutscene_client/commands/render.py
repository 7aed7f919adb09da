"""``cutscene render``: scripts into films on the server, followed, left and taken up again."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tqdm import tqdm

from cutscene_client import remembered, shipped
from cutscene_client.client import Client, connect
from cutscene_client.commands.arguments import Commands, add_server, add_tenant, client_of, meant, readable, whole
from cutscene_client.errors import CutsceneError, RenderNotFound
from cutscene_client.frames import TIERS
from cutscene_client.rendering import Render, RenderItem, RenderProgress

SAFE_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
MAX_RATE_FACTOR = 40


def add_commands(commands: Commands) -> None:
    """Adds ``render`` and ``renders`` to the tool's commands."""
    render = commands.add_parser(
        "render",
        help="render scripts into films in the background",
        description="Hands scripts to the server as one job, which makes a film of each while no live session wants a "
        "frame. The job goes on without this command.",
    )
    render.add_argument("scripts", nargs="*", metavar="SCRIPT", help="a YAML file, or the name of a shipped script")
    render.add_argument("-o", "--output", type=Path, metavar="DIR", help="bring each film there as soon as it is done")
    render.add_argument("--watch", action="store_true", help="stay until it has ended, though no film is brought here")
    render.add_argument("--resume", metavar="JOB", help="follow a job again, by the beginning of its id")
    render.add_argument("--cancel", metavar="JOB", help="give up what of a job is not done")
    render.add_argument("--token", default="", help="of a job that was not handed in from here")
    render.add_argument("--tier", choices=sorted(TIERS), default="", help="work a frame gets (default: the model's)")
    render.add_argument("--seed", type=readable(whole), metavar="N", help="in place of the scripts' own seeds")
    render.add_argument("--rate-factor", type=readable(_rate_factor), default=0, metavar="N",
                        help=f"how small films are: 1 (large) to {MAX_RATE_FACTOR} (default: 16)")  # fmt: skip
    add_tenant(render)
    add_server(render)
    render.set_defaults(run=_render)

    renders = commands.add_parser(
        "renders",
        help="the render jobs that were handed in from here",
        description="Lists the jobs handed in from here.",
    )
    add_server(renders)
    renders.set_defaults(run=_renders)


def _render(options: argparse.Namespace) -> int:
    chosen = [bool(options.scripts), options.resume is not None, options.cancel is not None]
    if sum(chosen) != 1:
        print("cutscene: render: say scripts, --resume JOB or --cancel JOB, and one of them alone", file=sys.stderr)
        return 2
    if options.resume is not None and not (options.output or options.watch):
        print("cutscene: render: --resume wants -o DIR, --watch, or both", file=sys.stderr)
        return 2
    if not options.scripts and (options.tier or options.rate_factor or options.seed is not None):
        print("cutscene: render: --tier, --seed and --rate-factor are of a job that is handed in now", file=sys.stderr)
        return 2
    if options.cancel is not None:
        return asyncio.run(_cancel(options))
    known = None if options.resume is None else meant(options.resume, options.token, remembered.RENDERS)
    items = [_item(script, options) for script in options.scripts]
    if options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)  # before a job is handed in whose films could not come here
    followed = _Followed(options.server, options.output, tenant=options.tenant)
    try:
        progress = asyncio.run(_hand_in_and_follow(items, known, options, followed))
    except KeyboardInterrupt:
        followed.say_how_to_come_back()
        return 1
    except (CutsceneError, OSError) as error:
        if not isinstance(error, RenderNotFound):
            followed.say_how_to_come_back()
        raise
    if options.json:
        print(json.dumps(_plain(progress) | {"films": [str(film) for film in followed.films]}))
    else:
        print(_report(progress))
    # Without -o or --watch, nothing has ended yet.
    return 0 if progress.state in ("queued", "drawing") or progress.items_done == progress.item_count else 1


def _rate_factor(text: str) -> int:
    return whole(text, 1, MAX_RATE_FACTOR)


def _item(script: str, options: argparse.Namespace) -> RenderItem:
    expansion = shipped.load_expansion(script)
    for warning in expansion.warnings:
        print(f"warning: {script}: {warning}", file=sys.stderr)
    request = type(expansion.open_request)()
    request.CopyFrom(expansion.open_request)
    if options.seed is not None:
        request.seed = options.seed
    if options.tier:
        request.tier = TIERS[options.tier]
    name = re.sub(r"[^A-Za-z0-9_-]", "_", Path(script).stem)[:64] or "film"
    return RenderItem(name, request, expansion.steps(), options.rate_factor)


@dataclasses.dataclass
class _Followed:
    """What is known of the job that is followed, should it be left."""

    server: str
    output: Path | None
    job_id: str = ""
    films: list[Path] = dataclasses.field(default_factory=list)
    tenant: str | None = None

    def say_how_to_come_back(self) -> None:
        if self.job_id:
            where = f"-o {self.output}" if self.output else "--watch"
            name = f" --tenant {self.tenant}" if self.tenant else ""
            print(
                f"the job goes on in the server; follow it with\n"
                f"  cutscene render --resume {self.job_id[:8]} {where}{name} --server {self.server}",
                file=sys.stderr,
            )


async def _hand_in_and_follow(
    items: Sequence[RenderItem], known: tuple[str, str] | None, options: argparse.Namespace, followed: _Followed
) -> RenderProgress:
    async with client_of(options) as client:
        if known is not None:
            render = client.render_job(*known)
        else:
            render = await client.render(items)
            title = ", ".join(item.name for item in items)
            remembered.remember(render.id, render.token, options.server, title, remembered.RENDERS)
            if not options.json:
                print(f"render job {render.id}: {len(items)} {'films' if len(items) > 1 else 'film'}")
        followed.job_id = render.id
        if not (options.output or options.watch):
            return await render.progress()
        return await follow(render, options.output, on_film=followed.films.append)


async def follow(
    render: Render, output: Path | None, *, on_film: Callable[[Path], object] = lambda film: None
) -> RenderProgress:
    """Follows a job to its end with a progress bar, and brings each film to ``output`` as soon as it is done."""
    brought: set[int] = set()
    with tqdm(unit=" frames", desc=render.id[:8], leave=False) as bar:
        async for progress in render.watch():
            bar.total = progress.frame_count
            bar.n = progress.frames_done
            bar.set_postfix_str(_at_work_on(progress), refresh=True)
            for index, item in enumerate(progress.items):
                if output is not None and item.state == "done" and index not in brought:
                    film = output / film_name(index, [each.name for each in progress.items])
                    await render.save(index, film, item.film_digest)
                    brought.add(index)
                    on_film(film)
    return progress


def film_name(index: int, names: Sequence[str]) -> str:
    """A film's name here: its item's, and its number if another item has the same. Raises ``CutsceneError`` for what
    could lead elsewhere."""
    name = names[index]
    if not SAFE_NAME.fullmatch(name):
        raise CutsceneError(f"the server names an item {name!r}, which cannot be a file's name")
    return f"{name}.mp4" if names.count(name) == 1 else f"{name}-{index:03d}.mp4"


def _at_work_on(progress: RenderProgress) -> str:
    if progress.state == "queued":
        return f"waits behind {progress.jobs_ahead} jobs" if progress.jobs_ahead else "waits"
    drawn = [(index, item) for index, item in enumerate(progress.items) if item.state == "drawing"]
    at = f"film {drawn[0][0] + 1} of {progress.item_count}, {drawn[0][1].name}" if drawn else progress.state
    return at + (f", {_duration(progress.remaining_s)} left" if progress.remaining_s else "")


def _report(progress: RenderProgress) -> str:
    lines = []
    for item in progress.items:
        about = {
            "done": f"{item.film_bytes / 1e6:.1f} MB, {item.film}, digest of all pixels: {item.pixel_digest.hex()}",
            "failed": item.failure,
        }.get(item.state, "")
        lines.append(
            f"{item.name:20} {item.state:9} {item.frames_done:5} of {item.frame_count} frames  {about}".rstrip()
        )
    if progress.state in ("queued", "drawing"):
        lines.append(f"follow it with `cutscene render --resume {progress.job_id[:8]} -o DIR`")
    return "\n".join(lines)


async def _cancel(options: argparse.Namespace) -> int:
    job_id, token = meant(options.cancel, options.token, remembered.RENDERS)
    async with client_of(options) as client:
        progress = await client.render_job(job_id, token).cancel()
    print(json.dumps(_plain(progress)) if options.json else _report(progress))
    return 0


def _renders(options: argparse.Namespace) -> int:
    async def ask(client: Client) -> dict[str, RenderProgress]:
        async with client:
            return {job.job_id: job for job in await client.renders()}

    stored = asyncio.run(ask(connect(options.server)))
    known = [entry for entry in remembered.remembered(remembered.RENDERS) if entry.server == options.server]
    shown = [(entry, stored[entry.session_id]) for entry in known if entry.session_id in stored]
    if options.json:
        print(json.dumps([_plain(progress) | {"title": entry.title} for entry, progress in shown]))
        return 0
    if not shown:
        print("no render jobs: `cutscene render` makes one")
    for entry, job in shown:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.opened_unix_s))
        print(
            f"{job.job_id}  {when}  {job.state:9} {job.items_done} of {job.item_count} films, "
            f"{job.frames_done} of {job.frame_count} frames  {entry.title}"
        )
    return 0


def _plain(progress: RenderProgress) -> dict[str, object]:
    plain = dataclasses.asdict(progress)
    items: Iterable[dict[str, object]] = plain["items"]
    plain["items"] = [
        {name: value.hex() if isinstance(value, bytes) else value for name, value in item.items()} for item in items
    ]
    return plain


def _duration(seconds: int | None) -> str:
    minutes, rest = divmod(seconds or 0, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
