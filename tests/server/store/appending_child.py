"""A program to be killed: plays a session in an endless loop, and says what has become durable once it has.

python -m tests.server.store.appending_child DIRECTORY SESSION
"""

from __future__ import annotations

import sys
from pathlib import Path

from cutscene_server.store import Store

from .samples import frame, turn

TURN_FRAMES = 5


def main(directory: Path, session_id: str) -> None:
    with Store.open(directory) as store:
        stored = store.read_session(session_id)
        print("open", stored.next_frame, flush=True)
        next_frame, number = stored.next_frame, len(stored.turns)
        waiting = list(stored.unfinished)
        while True:
            if not waiting:
                waiting = [turn(number, next_frame, TURN_FRAMES, b"%d" % number * 3000)]
                store.add_turn(session_id, waiting[0])
                print("turn", number, flush=True)
                number += 1
            end_frame = waiting[0].first_frame + TURN_FRAMES
            for index in range(next_frame, end_frame):
                store.add_frame(session_id, frame(index, latent_bytes=18_432))
                print("frame", index, flush=True)
            next_frame = end_frame
            store.finish_turn(session_id, waiting.pop(0).turn_number)


main(Path(sys.argv[1]), sys.argv[2])
