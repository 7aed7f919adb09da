"""Metrics of a real server, as a scraper sees them: after a session, a refusal, and the end of an inference process."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import re
import signal
import socket
import urllib.error
from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from cutscene_proto.v1 import cutscene_pb2 as pb
from cutscene_server.config import ServerConfig
from cutscene_server.errors import ConfigError, EngineFailed, NoRoom, reason_of, reasons
from cutscene_server.metrics import Metrics
from cutscene_server.observer import Observer
from cutscene_server.running import RunningServer, run_server
from messages import lockstep_turn, open_message
from raw_client import RawStream
from scraping import parsed, samples_of, scrape, value
from synthetic_server import eventually, synthetic_config


@pytest_asyncio.fixture
async def server() -> AsyncIterator[RunningServer]:
    async with run_server(synthetic_config(metrics_listen="127.0.0.1:0", max_sessions=1, sweep_period=0.1)) as running:
        yield running


async def test_what_a_session_does_is_counted(server: RunningServer) -> None:
    before = await samples_of(server)
    assert value(before, "cutscene_frames_total", tier="standard", origin="drawn") == 0
    async with grpc.aio.insecure_channel(server.address) as channel:
        stream = RawStream(channel)
        await stream.open(open_message())
        await stream.say(turn=lockstep_turn("one", 12))
        await stream.frames(12)
        await stream.say(turn=lockstep_turn("one", 1))  # the id was used before
        await stream.hear_until("rejected")
        with pytest.raises(grpc.aio.AioRpcError):
            await RawStream(channel).open(open_message())
        await stream.say(close=pb.Close())
        await stream.hear_to_end()
    after = await samples_of(server)
    assert value(after, "cutscene_frames_total", tier="standard", origin="drawn") == 12
    assert value(after, "cutscene_frames_total", tier="standard", origin="stored") == 0
    assert value(after, "cutscene_tier_film_seconds_total", tier="standard") == pytest.approx(0.5)
    assert value(after, "cutscene_frame_seconds_count") == 12
    for stage in ("queued", "greybox", "denoise", "decode", "store", "deliver"):
        assert value(after, "cutscene_frame_stage_seconds_count", stage=stage) == 12
    assert value(after, "cutscene_batch_frames_sum") == 12
    assert value(after, "cutscene_turns_total") == 1
    assert value(after, "cutscene_sessions_opened_total") == 1
    assert value(after, "cutscene_sessions_closed_total", reason="client") == 1
    assert value(after, "cutscene_refusals_total", reason="invalid_request") == 1
    assert value(after, "cutscene_refusals_total", reason="no_room") == 1
    assert value(after, "cutscene_sent_bytes_total") > 12 * 1000
    assert value(after, "cutscene_event_loop_lag_seconds_count") > 0
    assert value(after, "process_resident_memory_bytes") > 0
    assert value(after, "cutscene_inference_process_resident_memory_bytes", process="0") > 0
    info = next(labels for name, labels in after if name == "cutscene_server_info")
    assert ("model", "synthetic") in info


async def test_frames_shown_again_are_told_from_those_drawn(server: RunningServer) -> None:
    async with grpc.aio.insecure_channel(server.address) as channel:
        stream = RawStream(channel)
        opened = await stream.open(open_message())
        await stream.say(turn=lockstep_turn("one", 4))
        await stream.frames(4, ack=False)
        stream.leave()

        async def detached() -> bool:
            return all(record.session.attachment is None for record in server.runtime.sessions)

        await eventually(detached)
        await RawStream(channel).open(open_message())  # takes the only place: the first session is on disk only
        for record in server.runtime.sessions:
            server.runtime.end(record)
        again = RawStream(channel)
        await again.resume(opened, 1)
        await again.frames(3)
    samples = await samples_of(server)
    assert value(samples, "cutscene_frames_total", tier="standard", origin="drawn") == 4
    assert value(samples, "cutscene_frames_total", tier="standard", origin="stored") == 3
    assert value(samples, "cutscene_frame_stage_seconds_count", stage="denoise") == 4


async def test_a_lost_inference_process_is_counted_and_its_successor_is_watched(server: RunningServer) -> None:
    lost = server.runtime.process_id
    assert lost is not None
    os.kill(lost, signal.SIGKILL)

    async def restarted() -> bool:
        return value(await samples_of(server), "cutscene_inference_restarts_total") == 1

    await eventually(restarted)
    assert value(await samples_of(server), "cutscene_inference_process_resident_memory_bytes", process="0") > 0


async def test_disk_use_and_its_limit_are_told(server: RunningServer) -> None:
    async def told() -> bool:
        return value(await samples_of(server), "cutscene_disk_limit_bytes") == server.runtime.config.max_disk

    await eventually(told)


async def test_no_label_comes_from_a_client_and_nothing_secret_is_shown(server: RunningServer) -> None:
    assert server.metrics_address is not None
    async with grpc.aio.insecure_channel(server.address) as channel:
        stream = RawStream(channel)
        opened = await stream.open(open_message())
        await stream.say(turn=lockstep_turn("a-turn-of-mine", 2))
        await stream.frames(2)
        text = await asyncio.to_thread(scrape, server.metrics_address)
    for told in (opened.session_id, opened.token, opened.watch_token, "a-turn-of-mine", "actor-0"):
        assert told not in text
    labels = {key for _, labels in parsed(text) for key, _ in labels}
    assert labels == {
        "stage", "tier", "origin", "state", "reason", "event", "le", "generation", "process", "version", "model",
        "model_version", "model_digest",
    }  # fmt: skip


async def test_only_reading_is_possible_and_a_silent_scraper_holds_up_no_stream(server: RunningServer) -> None:
    assert server.metrics_address is not None
    with pytest.raises(urllib.error.HTTPError, match="405") as raised:
        await asyncio.to_thread(scrape, server.metrics_address, "DELETE")
    raised.value.close()
    host, _, port = server.metrics_address.rpartition(":")
    with contextlib.closing(socket.create_connection((host, int(port)))):
        async with grpc.aio.insecure_channel(server.address) as channel:
            stream = RawStream(channel)
            await stream.open(open_message())
            await stream.say(turn=lockstep_turn("one", 2))
            await stream.frames(2)


async def test_without_the_setting_there_are_no_metrics() -> None:
    async with run_server(synthetic_config()) as server:
        assert server.metrics_address is None


async def test_an_address_that_is_taken_is_a_configuration_error(server: RunningServer) -> None:
    config = synthetic_config(metrics_listen=server.metrics_address)
    with pytest.raises(ConfigError, match="metrics_listen: cannot listen"):
        async with run_server(config):
            raise AssertionError


def test_the_metrics_are_kept_to_this_machine_unless_told_otherwise() -> None:
    with pytest.raises(ConfigError, match=r"metrics_listen: '0\.0\.0\.0:9464' can be reached"):
        ServerConfig(metrics_listen="0.0.0.0:9464")
    with pytest.raises(ConfigError, match="metrics_listen: 'nonsense' is not of the form host:port"):
        ServerConfig(metrics_listen="nonsense")
    config = ServerConfig(metrics_listen="[::1]:9464", allow_insecure_remote=False)
    assert config.metrics_address == ("::1", 9464)
    assert dataclasses.replace(config, metrics_listen="0.0.0.0:1", allow_insecure_remote=True).metrics_address


def test_every_metric_keeps_to_the_conventions() -> None:
    """https://prometheus.io/docs/practices/naming/: a prefix, base units, _total for what only rises, a help text."""
    registry = CollectorRegistry()
    Metrics(registry)
    families = list(registry.collect())
    assert len(families) > 20
    for family in families:
        assert re.fullmatch(r"cutscene_[a-z_]+", family.name)
        assert family.documentation.endswith(".")
        assert not re.search(r"milli|micro|_ms\b|_us\b|kilo|mega|percent", family.name)
        if family.type == "histogram" and family.name != "cutscene_batch_frames":
            assert family.name.endswith("_seconds")


def test_counters_of_the_cache_go_on_rising_when_another_process_counts_from_zero() -> None:
    registry = CollectorRegistry()
    observer = Observer(Metrics(registry))
    observer.cache_told({"hits": 10, "blocks": 3, "held_bytes": 300, "something_else": 5})
    observer.cache_told({"hits": 14, "blocks": 4, "held_bytes": 400})
    observer.cache_told({"hits": 5, "blocks": 2, "held_bytes": 200}, process=1)
    observer.inference_restarted()
    observer.cache_told({"hits": 2, "blocks": 1, "held_bytes": 100, "used": 1})
    assert registry.get_sample_value("cutscene_cache_blocks_total", {"event": "hits"}) == 10 + 4 + 5 + 2
    assert registry.get_sample_value("cutscene_cache_held_blocks") == 3
    assert registry.get_sample_value("cutscene_cache_held_bytes") == 300
    assert registry.get_sample_value("cutscene_cache_used_blocks") == 1
    assert observer.cache["hits"] == 7


def test_reasons_are_a_closed_set() -> None:
    assert reason_of(NoRoom("full", None)) == "no_room"
    assert reason_of(EngineFailed("broken")) == "engine_failed"
    assert reason_of(ValueError("a fault of ours")) == "fault"
    assert {"no_room", "engine_failed", "fault", "illegal_event", "local_only"} <= set(reasons())
    assert len(reasons()) == len(set(reasons()))
