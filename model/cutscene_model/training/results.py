"""Everything that an evaluation found, and its form as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cutscene_model.manifest import Manifest
from cutscene_model.training.director import Performance, Shot
from cutscene_model.training.figures import Verdict, verdicts
from cutscene_model.training.gallery import Gallery
from cutscene_model.training.identity import ActorColor
from cutscene_model.training.long_session import LongSession
from cutscene_model.training.scores import AUTOENCODER, FrameScore, by_kind, error_shares, of, summary


@dataclass(frozen=True)
class PlayedPerformance:
    """One performance as far as it was played."""

    performance: Performance
    shots: tuple[Shot, ...]
    frames: tuple[FrameScore, ...]
    clip: bytes  # MP4: reference and model side by side

    @property
    def title(self) -> str:
        """What it is, in one line."""
        one = self.performance
        cast = ", ".join(member.costume.replace("_", " ") for member in one.stage.cast)
        return f"Performance {one.seed}: {one.plot} in the {one.room.replace('_', ' ')}, {one.preset}; {cast}"


@dataclass(frozen=True)
class Results:
    """What ``cutscene-train evaluate`` found."""

    manifest: Manifest
    machine: str
    settings: dict[str, float | str]
    tiers: tuple[str, ...]  # that were played
    tier: str  # whose pictures, clips and curves are shown: the manifest's default, where it was played
    performances: tuple[PlayedPerformance, ...]
    fps: dict[str, float]  # by tier
    sessions: dict[str, LongSession]  # by tier; empty where none was asked for
    gallery: Gallery
    left_out: tuple[str, ...]  # sentences on what was not measured

    @property
    def frames(self) -> list[FrameScore]:
        """All frames of all performances."""
        return [frame for played in self.performances for frame in played.frames]

    def figures(self, who: str) -> dict[str, float]:
        """All figures of a tier, or of the autoencoder."""
        figures = summary(of(self.frames, who))
        if who in self.fps:
            figures["fps"] = round(self.fps[who], 2)
        if who in self.sessions:
            figures["drift_db"] = round(self.sessions[who].drift_db, 4)
        return figures

    def verdicts(self) -> list[Verdict]:
        """The goals, each beside its figure."""
        model = self.figures(self.tier)
        return verdicts({"model": model, AUTOENCODER: self.figures(AUTOENCODER), "session": model})

    def to_plain(self) -> dict[str, Any]:
        """The contents of ``report.json``."""
        frames = self.frames
        everybody = [*self.tiers, AUTOENCODER]
        whole = {
            who: {
                **self.figures(who),
                "shots": {kind: summary(of(some, who)) for kind, some in by_kind(frames).items()},
                "error_shares": error_shares(of(frames, who)),
            }
            for who in everybody
        }
        return {
            "model": {"name": self.manifest.name, "version": self.manifest.version, "digest": self.manifest.digest},
            "machine": self.machine,
            "settings": self.settings,
            "tier": self.tier,
            "frames": len(frames),
            "goals": [
                {
                    "who": verdict.goal.who,
                    "figure": verdict.goal.key,
                    "at_least" if verdict.goal.at_least else "at_most": verdict.goal.bound,
                    "measured": verdict.measured,
                    "met": verdict.met,
                }
                for verdict in self.verdicts()
            ],
            "tiers": {tier: whole[tier] for tier in self.tiers},
            AUTOENCODER: whole[AUTOENCODER],
            "long_sessions": {tier: _session(session) for tier, session in self.sessions.items()},
            "performances": [_performance(played, everybody) for played in self.performances],
            "left_out": list(self.left_out),
        }


def _performance(played: PlayedPerformance, everybody: list[str]) -> dict[str, Any]:
    one = played.performance
    return {
        "seed": one.seed,
        "room": one.room,
        "variant": one.variant,
        "plot": one.plot,
        "light": one.preset,
        "cast": [
            {"id": m.id, "costume": m.costume, "headgear": m.headgear, "tint": list(m.tint)} for m in one.stage.cast
        ],
        "shots": [{"kind": shot.kind, "start": shot.start, "end": shot.end} for shot in played.shots],
        "frames": [frame.frame for frame in played.frames],
        "psnr_db": {who: [round(score.psnr_db, 2) for score in of(played.frames, who)] for who in everybody},
    }


def _session(session: LongSession) -> dict[str, Any]:
    plan = session.plan
    places = {"early": plan.places.early, "late": plan.places.late, "last": plan.last}
    actors = []
    for index, member in enumerate(session.performance.stage.cast):
        seen = {
            name: session.colors_at(place)[index] for name, place in places.items() if index in session.colors_at(place)
        }
        if index in session.forgotten:
            seen["forgotten"] = session.forgotten[index]
        plain = {name: _color(color) for name, color in seen.items()}
        actors.append({"id": member.id, "costume": member.costume, "tint": list(member.tint), **plain})
    return {
        "performance": session.performance.seed,
        "shot": plan.shot.kind,
        "places": {**places, "period": plan.places.period, "reach": plan.places.reach},
        "cuts": list(plan.cuts),
        "drift_db": round(session.drift_db, 4),
        "identity_error": {name: round(session.identity_error(place), 4) for name, place in places.items()},
        "actors": actors,
        "psnr_db": {str(frame): round(value, 2) for frame, value in sorted(session.psnr_db.items())},
    }


def _color(color: ActorColor) -> dict[str, float]:
    return {"error": round(color.error, 3), "shift": round(color.shift, 3)}
