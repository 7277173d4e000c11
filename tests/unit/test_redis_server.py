"""What RedisStore reads from a server without a connection: its identity, its settings, its URL."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest
from attrs import evolve

from aiowatermark import InvalidInput, RedisStore
from aiowatermark.cli.doctor.redis_checks import check_redis_settings
from aiowatermark.media.memory import Bytes
from aiowatermark.stores.redis.rewind.identity import ServerIdentity, parse_identity, parse_info, rewind_reason
from aiowatermark.stores.redis.rewind.recent_records import RECENT_SECONDS, RecentRecords
from aiowatermark.stores.redis.server.clients import SentinelAddress, parse_sentinel
from aiowatermark.stores.redis.server.errors import describe_error, is_not_primary, server_cannot_write
from aiowatermark.stores.redis.server.settings import ServerSettings, parse_settings
from tests.support.records import accept, finish, make_record

INFO = b"""# Server\r
run_id:0fed636f8d7f639ee07787a7b0c72ab55c46ed85\r
server_time_usec:1795816726250000\r
uptime_in_seconds:7\r
executable:/usr/bin/redis:server\r
\r
# Replication\r
role:master\r
master_replid:becfd9875c5a2af85ab9881047baa0003f560632\r
master_repl_offset:42\r
"""
SERVER = ServerIdentity("run-1", "replication-1", 100, 60.0)


def test_the_identity_is_read_from_info() -> None:
    assert parse_identity(parse_info(INFO)) == ServerIdentity(
        "0fed636f8d7f639ee07787a7b0c72ab55c46ed85", "becfd9875c5a2af85ab9881047baa0003f560632", 42, 6.25
    )


def test_a_value_with_a_colon_is_read_whole() -> None:
    assert parse_info(INFO)["executable"] == "/usr/bin/redis:server"


def test_info_that_the_driver_has_parsed_is_read_alike() -> None:
    assert parse_info({"uptime_in_seconds": 7, "run_id": "x"}) == {"uptime_in_seconds": "7", "run_id": "x"}


@pytest.mark.parametrize("field", ["run_id", "master_replid", "master_repl_offset", "uptime_in_seconds", "role"])
def test_info_without_a_field_is_an_error_that_names_it(field: str) -> None:
    fields = parse_info(INFO)
    del fields[field]
    with pytest.raises(ValueError, match=field):
        parse_identity(fields)


@pytest.mark.parametrize(("uptime", "microseconds", "age"), [(0, 999_999, 0.0), (1, 0, 0.0), (1, 500_000, 0.5)])
def test_the_age_of_a_server_is_never_overestimated(uptime: int, microseconds: int, age: float) -> None:
    fields = parse_info(INFO) | {"uptime_in_seconds": str(uptime), "server_time_usec": str(17_000_000 + microseconds)}
    assert parse_identity(fields).age == pytest.approx(age)


def test_a_replica_is_no_primary() -> None:
    assert not parse_identity(parse_info(INFO) | {"role": "slave"}).primary


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"offset": 101}, None),
        ({"age": 61.0}, None),
        ({"run_id": "run-2"}, "restarted"),
        ({"run_id": "run-2", "offset": 500}, "restarted"),
        ({"replication_id": "replication-2"}, "another server"),
        ({"offset": 99}, "earlier state"),
    ],
)
def test_a_rewind_is_another_process_another_history_or_a_lower_offset(
    changes: dict[str, Any], reason: str | None
) -> None:
    found = rewind_reason(SERVER, evolve(SERVER, **changes), SERVER.offset)
    assert found is None if reason is None else found is not None and reason in found


def test_the_first_connection_shows_no_rewind() -> None:
    assert rewind_reason(None, SERVER, 0) is None


def test_replies_that_overtake_one_another_are_no_rewind() -> None:
    later = evolve(SERVER, offset=200)
    # asked for at 100, and processed after the reply that told 200
    assert rewind_reason(later, evolve(SERVER, offset=150), 100) is None
    assert later.advance(evolve(SERVER, offset=150)).offset == 200


@pytest.mark.parametrize(
    ("text", "not_primary"),
    [
        ("READONLY You can't write against a read only replica.", True),
        ("LOADING Redis is loading the dataset in memory", True),
        ("MASTERDOWN Link with MASTER is down", True),
        ("CLUSTERDOWN The cluster is down", True),
        ("OOM command not allowed when used memory > 'maxmemory'.", False),
        ("NOREPLICAS Not enough good replicas to write.", False),
    ],
)
def test_replies_of_a_server_that_is_no_primary_are_told_from_others(text: str, not_primary: bool) -> None:
    assert server_cannot_write(Exception(text))
    assert is_not_primary(Exception(text)) is not_primary


def raised_for(error: Exception, cause: Exception) -> Exception:
    """An error that was raised while another one was handled."""
    error.__context__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            raised_for(Exception("Error 111 connecting to h:1. Connect call failed ('h', 1)."), OSError(111, "x")),
            "the connection failed (Connection refused)",
        ),
        (raised_for(Exception("Timeout connecting to server"), TimeoutError()), "timed out"),
        (Exception("Connection closed by server."), "Connection closed by server"),
        (Exception("ERR unknown command"), "ERR unknown command"),
        (Exception(), "the connection failed"),
        (Exception("WRONGPASS canary"), "it refuses the user or password of the URL"),
    ],
)
def test_an_error_of_redis_is_said_without_class_names_and_pythons_addresses(error: Exception, said: str) -> None:
    assert describe_error(error) == said


# URLs


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("sentinel://one:1,two:2/main/3", SentinelAddress((("one", 1), ("two", 2)), "main", "3")),
        ("sentinel://:canary@one/main", SentinelAddress((("one", 26379),), "main", "0")),
        (
            "sentinel://[::1]:5,two/my%20main?socket_timeout=1",
            SentinelAddress((("::1", 5), ("two", 26379)), "my main", "0"),
        ),
    ],
)
def test_a_sentinel_url_names_sentinels_a_service_and_a_database(url: str, address: SentinelAddress) -> None:
    assert parse_sentinel(urlsplit(url)) == address
    assert "canary" not in repr(RedisStore(url))


@pytest.mark.parametrize(
    "url",
    [
        "sentinel://:canary@one:1",
        "sentinel://:canary@one:1/",
        "sentinel://:canary@one:x/main",
        "sentinel://:canary@one:0/main",
        "sentinel://:canary@,two/main",
        "sentinel:///main/canary",
        "sentinel://:canary@one/main/zero",
        "sentinel://:cana@ry@one/main@x",
    ],
)
def test_an_invalid_sentinel_url_is_refused_without_being_quoted(url: str) -> None:
    with pytest.raises(InvalidInput, match="sentinel://host:26379") as refused:
        RedisStore(url)
    assert "cana" not in str(refused.value)


# settings

SAFE = ServerSettings(True, "always", "3600 1", 1000, "noeviction", 2)


def test_settings_are_read_from_info_and_config() -> None:
    info = {"aof_enabled": "1", "maxmemory": "1000", "maxmemory_policy": "noeviction", "connected_slaves": "2"}
    assert parse_settings(info, {"appendfsync": "always", "save": "3600 1"}) == SAFE


def test_a_server_that_refuses_config_leaves_only_its_parameters_unknown() -> None:
    settings = parse_settings({"aof_enabled": "1", "maxmemory": "5", "maxmemory_policy": "volatile-lru"}, {})
    assert (settings.append_only, settings.fsync, settings.save, settings.evicts) == (True, None, None, True)


@pytest.mark.parametrize(
    ("changes", "ok", "words"),
    [
        ({}, True, "appendfsync always: no answered write is forgotten"),
        ({"fsync": "everysec"}, True, "can forget the last two seconds"),
        ({"fsync": "no"}, None, "half a minute"),
        ({"fsync": None}, True, "does not tell"),
        ({"append_only": False}, None, "appendonly no: everything since the last RDB save can be forgotten"),
        ({"append_only": False, "save": ""}, None, "a restart forgets every record"),
        ({"eviction_policy": "allkeys-lru"}, False, "records are deleted silently"),
        ({"eviction_policy": "allkeys-lru", "max_memory": 0}, True, "nothing is deleted to free memory"),
        ({}, True, "nothing new is submitted"),
        ({"replicas": 0}, None, "no connected replica"),
        ({}, True, "2 connected replicas: a failover can forget"),
    ],
)
def test_doctor_says_what_each_setting_means(changes: dict[str, Any], ok: bool | None, words: str) -> None:
    (result,) = [each for each in check_redis_settings(evolve(SAFE, **changes)) if words in each.text]
    assert result.ok is ok


# recent records


def test_recent_records_keep_the_latest_version_until_they_are_old() -> None:
    recent = RecentRecords()
    running = accept(make_record("one"))
    done = finish(running)
    recent.add(running, "released", 1.0)
    recent.add(done, "ended", 2.0)
    recent.add(running, "released", 3.0)
    recent.add(accept(make_record("two")), "left", 4.0)
    assert [(entry.record.key, entry.mode) for entry in recent.entries()] == [("one", "ended"), ("two", "left")]
    recent.expire(2.0 + RECENT_SECONDS)
    assert [entry.record.key for entry in recent.entries()] == ["two"]
    recent.drop("two")
    assert recent.entries() == []


def test_recent_records_are_bounded_in_number_and_in_bytes() -> None:
    recent = RecentRecords()
    for number in range(10_001):
        recent.add(accept(make_record(f"job-{number}")), "ended", 1.0)
    assert len(recent.entries()) == 10_000
    assert recent.entries()[0].record.key == "job-1"
    large = Bytes(bytes(20 << 20))
    recent.add(finish(make_record("large-1"), large), "ended", 2.0)
    recent.add(finish(make_record("large-2"), large), "ended", 2.0)
    assert [entry.record.key for entry in recent.entries()][-2:] == ["job-10000", "large-2"]
    recent.drop("large-2")
    recent.add(finish(make_record("large-3"), large), "ended", 3.0)
    assert [entry.record.key for entry in recent.entries()][-2:] == ["job-10000", "large-3"]


def test_results_of_ended_jobs_that_nobody_took_need_bounded_memory() -> None:
    from aiowatermark.stores.redis.rewind.ended_media import EndedMedia

    media = EndedMedia()
    assert [media.add(f"job-{number}", 10 << 20) for number in range(3)] == [[], [], []]
    assert media.add("job-3", 10 << 20) == ["job-0"]
    media.drop("job-1")
    assert media.add("job-4", 10 << 20) == []
    assert media.add("large", 100 << 20) == ["job-2", "job-3", "job-4", "large"]
    assert media.add("job-5", 1) == []
