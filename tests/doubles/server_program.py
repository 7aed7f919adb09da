"""``cutscene-server`` as a process of its own, which tests may kill, and clients that come back however it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import grpc

from cutscene_proto.v1 import cutscene_pb2 as pb
from raw_client import RawStream
from synthetic_server import DOUBLES, ENGINE, child_processes, eventually, process_lives


class ServerProgram:
    """One data directory, and the processes that serve it one after the other."""

    def __init__(self, directory: Path, *arguments: str, port: int = 0, standard_error: int | None = None) -> None:
        """``standard_error``: a file descriptor; None: the log that ``stop`` returns."""
        directory.mkdir(parents=True, exist_ok=True)
        self._port_file = directory / "address"
        # Not a pipe: nobody would empty it, and once full it stops a server that says one more line.
        self._log_file = directory / "log"
        self._command = [
            sys.executable, "-m", "cutscene_server", "--listen", f"127.0.0.1:{port}", "--engine", ENGINE,
            "--port-file", str(self._port_file), "--data", str(directory / "data"), *arguments,
        ]  # fmt: skip
        self._standard_error = standard_error
        self.program: subprocess.Popen[bytes] | None = None
        self.up = asyncio.Event()

    @property
    def address(self) -> str:
        return self._port_file.read_text().strip()

    async def start(self) -> None:
        self._port_file.unlink(missing_ok=True)
        path = os.pathsep.join([str(DOUBLES), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, "PYTHONPATH": path}
        with self._log_file.open("w") as log:
            stderr = log if self._standard_error is None else self._standard_error
            self.program = await asyncio.to_thread(subprocess.Popen, self._command, env=environment, stderr=stderr)
        await eventually(lambda: asyncio.to_thread(self._port_file.exists))
        self.up.set()

    async def kill(self) -> None:
        """``kill -9`` of the front end; its inference process goes with it."""
        assert self.program is not None
        self.up.clear()
        children = child_processes(self.program.pid)
        self.program.send_signal(signal.SIGKILL)
        await asyncio.to_thread(self.program.wait)

        async def gone() -> bool:
            return not any(map(process_lives, children))

        await eventually(gone)

    def kill_inference(self, number: signal.Signals = signal.SIGKILL) -> None:
        """``kill -9`` of the inference process alone, or another signal for it."""
        assert self.program is not None
        for child in child_processes(self.program.pid):
            with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                if "multiprocessing.spawn" in Path(f"/proc/{child}/cmdline").read_text():
                    os.kill(child, number)

    async def stop(self) -> str:
        """Stops in order, and returns what was logged."""
        assert self.program is not None
        self.program.terminate()
        await asyncio.to_thread(self.program.wait)
        return self._log_file.read_text()


@contextlib.asynccontextmanager
async def serving(
    directory: Path, *arguments: str, port: int = 0, standard_error: int | None = None
) -> AsyncIterator[ServerProgram]:
    server = ServerProgram(directory, *arguments, port=port, standard_error=standard_error)
    try:
        await server.start()
        yield server
    finally:
        if server.program is not None and server.program.poll() is None:
            await server.kill()


async def frames_whatever_happens(server: ServerProgram, opening: pb.Open, turns: Sequence[pb.Turn]) -> list[pb.Frame]:
    """A client that resumes after every end of its stream, and sends again what the server had not taken.

    Raises ``AssertionError`` if the server closes the session before its last frame.
    """
    opened = pb.Opened()
    frames: list[pb.Frame] = []
    total = sum(len(turn.lockstep.states) for turn in turns)
    while len(frames) < total:
        await server.up.wait()
        try:
            async with asyncio.timeout(30), grpc.aio.insecure_channel(server.address) as channel:
                stream = RawStream(channel)
                if opened.session_id:
                    again = await stream.resume(opened, len(frames))
                    known = set(again.recent_turn_ids)
                else:
                    opened = await stream.open(opening)
                    known = set()
                for turn in turns:
                    if turn.turn_id not in known:
                        await stream.say(turn=turn)
                while len(frames) < total:
                    frame = await stream.hear_until("frame", never="closed")
                    assert frame.frame_index == len(frames), "every frame once, and in order"
                    frames.append(frame)
                    await stream.say(ack=pb.Ack(next_frame=len(frames)))
        except (grpc.aio.AioRpcError, grpc.aio.InternalError, asyncio.InvalidStateError, AssertionError) as error:
            if isinstance(error, AssertionError) and "ended without" not in str(error):
                raise
            await asyncio.sleep(0.02)
    return frames
