"""What the ways have in common that run the exported networks elsewhere than in torch. Imports no torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

from backend_ways.frames import Arrays, read_frames
from backend_ways.known import NETWORKS


class ExportedWay(ABC):
    """The networks, opened once for each count of threads, and run twice before anybody times them."""

    def __init__(self, way: str, folder: Path, model: Path | None, threads: list[int]) -> None:
        self._runs: dict[tuple[str, int], Callable[[], Any]] = {}
        for network in NETWORKS:
            seen, given = read_frames(folder, network)
            read = self.read(way, network, folder / f"{network}.onnx", seen)
            for count in threads:
                self._runs[network, count] = self.opened(way, read, count, given)
                for _ in range(2):
                    self.run(network, count)

    @abstractmethod
    def read(self, way: str, network: str, source: Path, seen: list[Arrays]) -> Any:
        """A network, quantised by what was ``seen`` if the way is of that kind."""

    @abstractmethod
    def opened(self, way: str, read: Any, threads: int, given: Arrays) -> Callable[[], Any]:
        """A pass of it over one frame's inputs, some of which it may not take."""

    @property
    def made(self) -> list[str]:
        """The networks that this way can run."""
        return list(NETWORKS)

    def run(self, network: str, threads: int) -> Any:
        """One pass."""
        return self._runs[network, threads]()
