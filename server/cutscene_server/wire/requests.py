"""Requests to values, every field checked; what is wrong is said field by field, and nothing is guessed.

Raises ``InvalidRequest`` with the violations found, at most 32 of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from cutscene_model.engine import TIERS
from cutscene_model.manifest import Manifest
from cutscene_model.scene import MAX_REFERENCES, Stage
from cutscene_proto.v1 import cutscene_pb2 as pb
from cutscene_server.errors import InvalidRequest
from cutscene_server.keyframes import Easing, KeyframedStates, LockstepStates, Run
from cutscene_server.packed_scene import pack_state
from cutscene_server.replay import Replay
from cutscene_server.scheduling import DEFAULT_TENANT
from cutscene_server.terms import Codec, Names, Pacing, PixelDigest, Terms
from cutscene_server.turns import Turn
from cutscene_server.wire.scene import names_of, read_camera, read_replacements, read_stage, read_state
from cutscene_server.wire.violations import (
    Full,
    Range,
    Violations,
    check_count,
    check_name,
    require,
    shown,
)

DEFAULT_FPS = 24.0
DEFAULT_JPEG_QUALITY = 90
DEFAULT_FRAME_CREDIT = 48
MAX_FRAME_CREDIT = 256
MAX_STATES = 4096  # of one run
MAX_OFFSET_US = 600_000_000
MAX_UNACKED_RAW_BYTES = (
    48 << 20
)  # raw frames that a session may keep; the credit is lowered to it, and `opened` says so
TENANT_KEY = "cutscene-tenant"  # of a call's metadata
TENANT_FIELD = f"metadata.{TENANT_KEY}"
MAX_PAGE_SIZE = 1000
DEFAULT_PAGE_SIZE = 100
MAX_REFERENCE_BYTES = 1 << 20
FPS = Range(1, 60)


def read_open(message: pb.Open, manifest: Manifest, max_frames: int, latency_us: int = 0) -> tuple[Terms, Stage]:
    """What a session's terms are, and its stage. ``latency_us``: what a paced session's frames may take.

    Of reference pictures, numbers and sizes are checked here; what is in them, where they are decoded.
    """
    violations = Violations()
    with contextlib.suppress(Full):
        if message.model and message.model != manifest.name:
            violations.add("open.model", f"found {shown(message.model)}; this server plays {manifest.name}")
        codec, jpeg_quality, pixel_digest = _video(violations, message.video, manifest)
        fps = FPS.check(violations, "open.fps", message.fps or DEFAULT_FPS)
        credit = message.frame_credit or DEFAULT_FRAME_CREDIT
        if credit > MAX_FRAME_CREDIT:
            violations.add("open.frame_credit", f"found {credit}; allowed are 1 to {MAX_FRAME_CREDIT}, or 0 for 48")
        if codec is Codec.RAW_RGB:
            credit = min(credit, max(1, MAX_UNACKED_RAW_BYTES // (manifest.width * manifest.height * 3)))
        if message.frame_budget > max_frames:
            violations.add(
                "open.frame_budget", f"found {message.frame_budget}; this server allows at most {max_frames}"
            )
        tier = _tier(violations, message.tier, manifest, "open.tier")
        pacing, lowest_tier = _pacing(violations, message, manifest, tier)
        stage = read_stage(violations, message, manifest)
        _check_references(violations, message, manifest)
        violations.raise_if_any()
        terms = Terms(
            model=manifest.name,
            model_digest=manifest.digest,
            width=manifest.width,
            height=manifest.height,
            codec=codec,
            jpeg_quality=jpeg_quality,
            pixel_digest=pixel_digest,
            fps=fps,
            seed=message.seed,
            tier=tier,
            frame_credit=credit,
            frame_budget=message.frame_budget or max_frames,
            names=names_of(stage, manifest),
            pacing=pacing,
            lowest_tier=lowest_tier,
            latency_us=0 if pacing is Pacing.UNPACED else latency_us,
        )
        return terms, stage
    raise InvalidRequest(violations.found)


def reference_pictures(message: pb.Open) -> tuple[bytes, ...]:
    """The reference pictures of an ``open`` that was read."""
    return tuple(reference.data for reference in message.references)


def read_turn(message: pb.Turn, names: Names, fps: float) -> Turn:
    """A turn with its states packed."""
    violations = Violations()
    with contextlib.suppress(Full):
        check_name(violations, "turn.turn_id", message.turn_id)
        run: Run | None = None
        match message.WhichOneof("run"):
            case "keyframed":
                run = _keyframed(violations, message.keyframed, names, fps)
            case "lockstep":
                run = _lockstep(violations, message.lockstep, names)
            case _:
                violations.add("turn.run", "is missing; keyframed or lockstep is required")
        violations.raise_if_any()
        if run is not None:
            return Turn(message.turn_id, run)
    raise InvalidRequest(violations.found)


def read_replay(message: pb.ReplaySessionRequest, names: Names, manifest: Manifest) -> Replay:
    """What of a recording is to be performed again, and how."""
    violations = Violations()
    with contextlib.suppress(Full):
        tier = _tier(violations, message.tier, manifest, "tier") if message.tier else None
        camera = read_camera(violations, "camera", message.camera) if message.HasField("camera") else None
        cast = read_replacements(violations, "cast", message.cast, names, manifest)
        violations.raise_if_any()
        return Replay(message.first_frame, message.end_frame, tier, camera, cast)
    raise InvalidRequest(violations.found)


def read_tenant(named: Sequence[str | bytes]) -> str:
    """Which tenant a call is for, given what its metadata says. Nobody checks yet who may say what."""
    violations = Violations()
    if len(named) > 1:
        violations.add(TENANT_FIELD, f"found {len(named)} values; at most one is allowed")
    name = named[0] if named else DEFAULT_TENANT
    check_name(violations, TENANT_FIELD, name if isinstance(name, str) else "")
    violations.raise_if_any()
    return str(name)


def state_count(message: pb.Turn) -> int:
    """How many states reading this turn will walk."""
    return len(message.keyframed.keyframes) + len(message.lockstep.states)


def read_page(message: pb.ListSessionsRequest) -> tuple[int, int]:
    """The key after which the page starts, and its size."""
    violations = Violations()
    if message.page_size > MAX_PAGE_SIZE:
        violations.add("page_size", f"found {message.page_size}; allowed are 1 to {MAX_PAGE_SIZE}, or 0 for 100")
    token = message.page_token
    if token and not (token.isascii() and token.isdecimal() and len(token) <= 18):
        violations.add("page_token", f"found {shown(token)}; allowed is a next_page_token, or nothing")
    violations.raise_if_any()
    return int(token or "0"), message.page_size or DEFAULT_PAGE_SIZE


def _video(violations: Violations, message: pb.VideoFormat, manifest: Manifest) -> tuple[Codec, int, PixelDigest]:
    if (message.width, message.height) not in ((0, 0), (manifest.width, manifest.height)):
        violations.add(
            "open.video",
            f"found {message.width}x{message.height}; this model draws {manifest.width}x{manifest.height}",
        )
    if message.jpeg_quality > 100:
        violations.add("open.video.jpeg_quality", f"found {message.jpeg_quality}; allowed are 1 to 100, or 0 for 90")
    try:
        codec = Codec(message.codec or pb.CODEC_JPEG)
    except ValueError:
        violations.add("open.video.codec", f"found {message.codec}; allowed are 0 to {len(Codec)}")
        codec = Codec.JPEG
    try:
        pixel_digest = PixelDigest(message.pixel_digest or pb.PIXEL_DIGEST_BLAKE2B)
    except ValueError:
        violations.add("open.video.pixel_digest", f"found {message.pixel_digest}; allowed are 0 to {len(PixelDigest)}")
        pixel_digest = PixelDigest.BLAKE2B
    return codec, message.jpeg_quality or DEFAULT_JPEG_QUALITY, pixel_digest


def _tier(violations: Violations, value: int, manifest: Manifest, path: str) -> str:
    if value == pb.TIER_UNSPECIFIED:
        return manifest.default_tier
    tier = TIERS[value - 1] if 0 < value <= len(TIERS) else None
    if tier is None or tier not in manifest.tiers:
        known = ", ".join(manifest.tiers)
        violations.add(path, f"found {tier or value}; this model has {known}")
        return manifest.default_tier
    return tier


def _check_references(violations: Violations, message: pb.Open, manifest: Manifest) -> None:
    if message.references and not manifest.references:
        violations.add(
            "open.references", f"found {len(message.references)}; {manifest.name} takes no reference pictures"
        )
    elif check_count(violations, "open.references", message.references, 0, min(manifest.references, MAX_REFERENCES)):
        for index, reference in enumerate(message.references):
            size = len(reference.data)
            if not 1 <= size <= MAX_REFERENCE_BYTES:
                violations.add(
                    f"open.references[{index}].data",
                    f"found {size} bytes; allowed are 1 to {MAX_REFERENCE_BYTES} bytes of JPEG or PNG",
                )


def _pacing(violations: Violations, message: pb.Open, manifest: Manifest, tier: str) -> tuple[Pacing, str]:
    """The pacing, and the lowest tier; empty: the session's own."""
    try:
        pacing = Pacing(message.pacing)
    except ValueError:
        violations.add("open.pacing", f"found {message.pacing}; allowed are 0 to {len(Pacing) - 1}")
        pacing = Pacing.UNPACED
    if not message.lowest_tier:
        return pacing, ""
    lowest = _tier(violations, message.lowest_tier, manifest, "open.lowest_tier")
    if TIERS.index(lowest) > TIERS.index(tier):
        violations.add("open.lowest_tier", f"found {lowest}, which is above the session's tier, {tier}")
    return pacing, lowest


def _keyframed(violations: Violations, message: pb.KeyframedRun, names: Names, fps: float) -> Run | None:
    path = "turn.keyframed.keyframes"
    if not check_count(violations, path, message.keyframes, 1, MAX_STATES):
        return None
    offsets_us: list[int] = []
    states: list[bytes] = []
    easings: list[Easing] = []
    for index, keyframe in enumerate(message.keyframes):
        _check_offset(violations, f"{path}[{index}].offset_us", keyframe.offset_us, offsets_us)
        offsets_us.append(keyframe.offset_us)
        try:
            easings.append(Easing(keyframe.easing or pb.EASING_LINEAR))
        except ValueError:
            violations.add(f"{path}[{index}].easing", f"found {keyframe.easing}; allowed are 0 to {len(Easing)}")
        if require(violations, f"{path}[{index}].state", keyframe.HasField("state")):
            states.append(pack_state(read_state(violations, f"{path}[{index}].state", keyframe.state, names)))
    if violations.found:
        return None
    return KeyframedStates(offsets_us, states, easings, fps)


def _check_offset(violations: Violations, path: str, offset_us: int, earlier: list[int]) -> None:
    if not earlier:
        if offset_us != 0:
            violations.add(path, f"found {offset_us}; the first keyframe is at 0")
    elif offset_us <= earlier[-1]:
        violations.add(path, f"found {offset_us} after {earlier[-1]}; offsets rise from keyframe to keyframe")
    elif offset_us > MAX_OFFSET_US:
        violations.add(path, f"found {offset_us}; allowed are at most {MAX_OFFSET_US} (10 minutes)")


def _lockstep(violations: Violations, message: pb.LockstepRun, names: Names) -> Run | None:
    path = "turn.lockstep.states"
    if not check_count(violations, path, message.states, 1, MAX_STATES):
        return None
    return LockstepStates(
        tuple(
            pack_state(read_state(violations, f"{path}[{index}]", state, names))
            for index, state in enumerate(message.states)
        )
    )
