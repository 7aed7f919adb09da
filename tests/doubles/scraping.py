"""A scraper of a server's metrics, as small as one can be."""

from __future__ import annotations

import asyncio
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

from cutscene_server.running import RunningServer

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]  # by name and labels


def scrape(address: str, method: str = "GET") -> str:
    """The metrics as text."""
    request = urllib.request.Request(f"http://{address}/metrics", method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        text: str = answer.read().decode()
        return text


def parsed(text: str) -> Samples:
    """Each sample's value."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    """One sample's value. Raises ``KeyError`` if it is not exported."""
    return samples[name, frozenset(labels.items())]


async def samples_of(server: RunningServer) -> Samples:
    """What a server exports now."""
    assert server.metrics_address is not None
    return parsed(await asyncio.to_thread(scrape, server.metrics_address))
