"""Settings from flags, environment and file."""

from __future__ import annotations

from pathlib import Path

import pytest

from cutscene_server.config import ServerConfig, read_config
from cutscene_server.errors import ConfigError


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "server.toml"
    file.write_text('max_sessions = 1\nidle_timeout = 10\nlisten = "127.0.0.1:1"\nmodel = "weights"\n')
    environment = {"CUTSCENE_SERVER_MAX_SESSIONS": "2", "CUTSCENE_SERVER_LOG_JSON": "true", "HOME": "/"}
    config = read_config({"max_sessions": 3}, environment, file)
    assert (config.max_sessions, config.idle_timeout, config.listen) == (3, 10.0, "127.0.0.1:1")
    assert (config.log_json, config.model) == (True, Path("weights"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("max_session = 1", "max_session is not a setting"),
        ("max_sessions = '1'", "not a value of type int"),
        ("max_sessions = true", "not a value of type int"),
        ("max_sessions = 0", "not at least 1"),
        ("niceness = 20", "not one of 0 to 19"),
        ("idle_timeout = -1", "not a positive number"),
        ("idle_timeout = nan", "not a positive number"),
        ("frame_timeout = -1", "frame_timeout: -1.0 is neither at least 0.1 nor 0"),
        ("frame_timeout = 0.05", "neither at least 0.1 nor 0"),
        ("load_timeout = nan", "neither at least 0.1 nor 0"),
        ("log_level = 'LOUD'", "not one of"),
        ("listen = '127.0.0.1'", "host:port"),
        ("listen = '127.0.0.1:70000'", "found port 70000, allowed are 0 to 65535"),
        ("threads = 0", "not one of 1 to 256"),
        ("threads = 100000", "not one of 1 to 256"),
        ("listen = '[::]:1'", "no TLS"),
        ("nonsense", "server.toml"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "server.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=says):
        read_config({}, {}, file)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CUTSCENE_SERVER_NONSENSE", "1"),
        ("CUTSCENE_SERVER_THREADS", "many"),
        ("CUTSCENE_SERVER_LOG_JSON", "perhaps"),
    ],
)
def test_a_wrong_environment_is_refused_by_name(variable: str, value: str) -> None:
    with pytest.raises(ConfigError, match=variable):
        read_config({}, {variable: value}, None)


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "localhost:50400", "[::1]:50400", "127.9.9.9:1"])
def test_loopback_needs_no_permission(listen: str) -> None:
    assert ServerConfig(listen=listen).listen == listen


@pytest.mark.parametrize("listen", ["0.0.0.0:1", "192.168.0.1:1", "game-server:1", "[::]:1"])
def test_other_addresses_do(listen: str) -> None:
    with pytest.raises(ConfigError):
        ServerConfig(listen=listen)
    assert ServerConfig(listen=listen, allow_insecure_remote=True).listen == listen
