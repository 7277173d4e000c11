"""Checks of the settings of a Redis server: what each of them means for money, in one sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ...stores.redis.server.settings import ServerSettings
from .results import CheckResult, failed, passed, remark

_APPEND_ONLY_ADVICE = (
    "set `appendonly yes`, and `appendfsync always` if nothing may be charged twice after a power failure"
)
_FSYNC: Mapping[str, str] = {
    "always": "no answered write is forgotten when Redis is restarted",
    "everysec": (
        "a crash can forget the last two seconds; running processes write their jobs again, and only what a process "
        "and Redis lose together can be charged twice"
    ),
    "no": "a crash can forget about half a minute; running processes write their jobs again, and jobs that ended in it "
    "can be charged twice",
}
_UNKNOWN_FSYNC = "how much a crash can forget depends on appendfsync, which this server does not tell"


def check_redis_settings(settings: ServerSettings) -> Iterator[CheckResult]:
    """Say what persistence, eviction and replicas of a server mean."""
    yield from _check_persistence(settings)
    yield _check_eviction(settings)
    if settings.replicas:
        yield passed(
            f"{settings.replicas} connected replicas: a failover can forget what they had not received; running "
            "processes write their jobs again, and `min-replicas-to-write 1` makes a cut-off primary refuse writes"
        )
    else:
        yield remark(
            "no connected replica: when this server's disk is lost, all records are, and every key is charged again"
        )


def _check_persistence(settings: ServerSettings) -> Iterator[CheckResult]:
    if settings.append_only:
        meaning = _FSYNC.get(settings.fsync or "", _UNKNOWN_FSYNC)
        text = f"appendonly yes, appendfsync {settings.fsync or 'unknown'}: {meaning}"
        yield remark(text, "set `appendfsync everysec` or `always`") if settings.fsync == "no" else passed(text)
    elif settings.save == "":
        yield remark(
            "appendonly no and save off: a restart forgets every record, and jobs that ended can be charged again",
            _APPEND_ONLY_ADVICE,
        )
    else:
        yield remark(
            "appendonly no: everything since the last RDB save can be forgotten, and jobs that ended since then "
            "can be charged again",
            _APPEND_ONLY_ADVICE,
        )
    if settings.save is not None:
        yield passed(
            f"save {settings.save or 'off'}: RDB files are a backup; what is newer than the last one is not in it"
        )


def _check_eviction(settings: ServerSettings) -> CheckResult:
    policy = f"maxmemory-policy {settings.eviction_policy}"
    if settings.evicts:
        return failed(
            f"{policy}: when memory is full, records are deleted silently, and their keys are charged again",
            "set `maxmemory-policy noeviction`, or use a Redis that is not a cache",
        )
    if settings.max_memory:
        return passed(f"{policy}: when memory is full, nothing new is submitted, and nothing is deleted")
    return passed(f"{policy}, no maxmemory: nothing is deleted to free memory")
