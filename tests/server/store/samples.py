"""Sessions, turns and frames to store. A frame's bytes follow from its number and a label: any can be checked."""

from __future__ import annotations

import hashlib
from pathlib import Path

from cutscene_server.store import NewSession, Store, StoredFrame, StoredTurn


def new_session(session_id: str = "session-a", *, created_unix_us: int = 1_700_000_000_000_000) -> NewSession:
    return NewSession(
        session_id=session_id,
        token_digest=bytes(range(32)),
        created_unix_us=created_unix_us,
        model="small",
        model_digest="5" * 64,
        packed_terms=b"terms",
        packed_stage=b"\x00stage",
        environment={"torch": "2.9", "cpu": "avx2"},
    )


def turn(number: int, first_frame: int, frame_count: int = 4, run: bytes | None = b"run") -> StoredTurn:
    return StoredTurn(number, f"turn {number}", first_frame, frame_count, number % 2 == 1, 1_000 + number, run)


def frame(index: int, label: str = "", *, latent_bytes: int = 32) -> StoredFrame:
    seed = f"{label}:{index}".encode()
    latent = (hashlib.blake2b(seed).digest() * (latent_bytes // 64 + 1))[:latent_bytes]
    return StoredFrame(
        frame_index=index,
        tier="draft",
        cut_before=index % 7 == 0,
        turn_number=index // 4,
        packed_state=seed,
        latent=latent,
        pixel_digest=hashlib.blake2b(latent, digest_size=16).digest(),
        figures=(index, "draft", 3, 1, 0.5),
    )


def log_file(directory: Path, session_id: str = "session-a", epoch: int = 0) -> Path:
    return directory / "sessions" / session_id / f"frames-{epoch}.log"


def add_frames(store: Store, session_id: str, first: int, end: int, label: str = "") -> None:
    for index in range(first, end):
        store.add_frame(session_id, frame(index, label))


def labels(store: Store, session_id: str, epoch: int | None = None, end: int | None = None) -> str:
    """Which label each of the session's frames below ``end`` (None: all) was added with, in order."""
    end = store.read_session(session_id).next_frame if end is None else end
    frames = list(store.read_frames(session_id, 0, end, epoch))
    assert [each.frame_index for each in frames] == list(range(end))
    return "".join(each.packed_state.decode().partition(":")[0] for each in frames)
