"""Benchmark of hostile callbacks: what an honest sender notices of an attack, at all three mounts.

    python benchmarks/hostile.py [--mount server] [--deliveries 20000] [--seconds 8] [--idle 5000] [--allow 1] [--check]

Server, attackers and honest sender are processes of their own. The rate of a bare aiohttp route that closes is measured
first; then, for each mount, an attack at half that rate, one at three times that rate by senders that wait for nothing,
and for the SDK's own server silent and dripping connections. The attack is a mixture of ten kinds, see
hostile_sender.py; one of them is forged deliveries to live keys.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))  # runs from a clone that is not installed

from attrs import define, field

from benchmarks.measure import Report, percentile

HONEST_PER_SECOND = 40
DEFAULTS = {"rate": 0, "count": 10**9, "seconds": 600, "threads": 8, "read": True, "mixed": True, "hold": 0}
HONEST_P99, LAG_P99, RECOVERY_SECONDS, RSS_GROWTH_MIB = 250.0, 50.0, 2.0, 24.0


@define(eq=False)
class Server:
    """A hostile_server.py: its process, port, and keys."""

    process: asyncio.subprocess.Process
    port: int
    honest: list[str]
    jobs: list[str]

    async def report(self) -> dict[str, float]:
        """What the server measured since the last report."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(b"\n")
        answer: dict[str, float] = json.loads(await self.process.stdout.readline())
        return answer


@asynccontextmanager
async def start_server(mount: str) -> AsyncIterator[Server]:
    program = str(Path(__file__).with_name("hostile_server.py"))
    process = await asyncio.create_subprocess_exec(
        sys.executable, program, mount, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield Server(process, **json.loads(await process.stdout.readline()))
        process.stdin.close()
        await asyncio.wait_for(process.wait(), 30)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@define(eq=False)
class Honest:
    """A provider that delivers callbacks to the known keys, one after the other, each on a new connection."""

    server: Server
    milliseconds: list[float] = field(factory=list)
    lost: int = 0

    async def run(self) -> None:
        """Deliver until cancelled."""
        number = 0
        async with asyncio.TaskGroup() as tasks:
            while True:
                tasks.create_task(self.deliver(self.server.honest[number % len(self.server.honest)]))
                number += 1
                await asyncio.sleep(1 / HONEST_PER_SECOND)

    async def deliver(self, key: str) -> float:
        """Deliver one callback; returns the milliseconds until it is answered."""
        body = b'{"status":200,"data":{"task_id":"t","state":1}}'
        began = time.perf_counter()
        try:
            async with asyncio.timeout(10):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
                writer.write(
                    f"POST /wm/{key} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
                )
                answered = b" 200 " in await reader.readline()
                writer.close()
        except (OSError, TimeoutError):
            answered = False
        taken = (time.perf_counter() - began) * 1000
        self.milliseconds.append(taken)
        self.lost += not answered
        return taken


async def attack(server: Server, processes: int = 1, **options: Any) -> tuple[Counter[str], float]:
    """Run an attack; returns the answers by status and the connections per second that were made."""
    program = str(Path(__file__).with_name("hostile_sender.py"))
    settings = {"port": server.port, "keys": server.jobs, **DEFAULTS, **options}
    senders = [
        await asyncio.create_subprocess_exec(
            sys.executable, program, json.dumps(settings), stdout=asyncio.subprocess.PIPE
        )
        for _ in range(processes)
    ]
    results = [json.loads((await sender.communicate())[0]) for sender in senders]
    statuses = sum((Counter(result["statuses"]) for result in results), Counter[str]())
    return statuses, statuses.total() / max(result["seconds"] for result in results)


async def attack_beside_honest(server: Server, **options: Any) -> tuple[Honest, Counter[str], float, dict[str, float]]:
    honest = Honest(server)
    await server.report()
    task = asyncio.create_task(honest.run())
    statuses, rate = await attack(server, **options)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return honest, statuses, rate, await server.report()


async def measure_bare_rate(seconds: float) -> float:
    """Plain POSTs per second that a bare aiohttp route answers, closing each connection."""
    async with start_server("bare") as server:
        _, rate = await attack(server, seconds=seconds, mixed=False)
    return rate


async def measure_mount(mount: str, rate: float, options: argparse.Namespace, report: Report) -> None:
    async with start_server(mount) as server:
        overload: dict[str, Any] = {"processes": 2, "threads": 2, "read": False, "rate": 3 * rate / 2}
        await attack(server, **overload, seconds=3)  # warms up: from here on memory must not grow
        await wait_recovered(server)
        before = await server.report()
        honest, statuses, made, after = await attack_beside_honest(server, rate=rate / 2, count=options.deliveries)
        show_answers(report, f"{mount}, 50 %", statuses, made, honest)
        report.bound(f"{mount}, 50 %: honest p99", percentile(honest.milliseconds, 0.99), HONEST_P99, "ms")
        report.bound(f"{mount}, 50 %: loop lag p99", after["lag_p99"] * 1000, LAG_P99, "ms")
        seconds = options.deliveries / made
        forged = options.deliveries / 10
        queries = after["queries"] - before["queries"]
        # one per job and second, however slow the machine is
        allowed = len(server.jobs) * (seconds + 2) / report.factor
        report.bound(f"{mount}: queries for {forged:.0f} forged ones", queries, allowed, "")
        report.bound(f"{mount}: questions to the store", after["asked"], 0, "")
        report.bound(f"{mount}: tracebacks", after["tracebacks"], 0, "")
        report.line(f"{mount}: log lines", f"{after['log_lines']:8.0f}")

        _, statuses, made, after = await attack_beside_honest(server, **overload, seconds=options.seconds)
        share = made / rate * 100
        report.line(f"{mount}, {share:.0f} %", f"{statuses['sent'] / statuses.total():8.0%} of them got a connection")
        report.line(f"{mount}, {share:.0f} %: loop lag p99", f"{after['lag_p99'] * 1000:8.1f} ms")
        recovered = await wait_recovered(server)
        report.bound(f"{mount}, overload: recovery", recovered, RECOVERY_SECONDS, "s")
        report.line(f"{mount}: RSS", f"{after['rss_mib']:8.1f} MiB")
        report.bound(f"{mount}: growth of RSS", after["rss_mib"] - before["rss_mib"], RSS_GROWTH_MIB, "MiB")
        if mount == "server" and options.idle:
            await measure_idle(server, options, report)


def show_answers(report: Report, label: str, statuses: Counter[str], made: float, honest: Honest) -> None:
    answers = ", ".join(f"{status} {count}" for status, count in statuses.most_common())
    report.line(f"{label}: {made:.0f} connections/s", answers)
    report.bound(f"{label}: answers 5xx", sum(count for status, count in statuses.items() if status[0] == "5"), 0, "")
    report.bound(f"{label}: honest not answered 200", honest.lost, 0, f"of {len(honest.milliseconds)}")


async def wait_recovered(server: Server) -> float:
    """Seconds until an honest delivery is answered as fast as without an attack."""
    began, honest = time.monotonic(), Honest(server)
    while await honest.deliver(server.honest[0]) > HONEST_P99 / 5 or honest.lost:
        honest.lost = 0
    return time.monotonic() - began


async def measure_idle(server: Server, options: argparse.Namespace, report: Report) -> None:
    """Hold silent and dripping connections, and open a new one for each that is closed."""
    seconds = options.idle / 1000 + options.seconds
    honest, _, _, after = await attack_beside_honest(server, hold=options.idle, seconds=seconds)
    label = f"{options.idle} silent or dripping"
    report.bound(f"{label}: honest p99", percentile(honest.milliseconds, 0.99), HONEST_P99, "ms")
    report.bound(f"{label}: honest not answered 200", honest.lost, 0, f"of {len(honest.milliseconds)}")
    report.bound(f"{label}: loop lag p99", after["lag_p99"] * 1000, LAG_P99, "ms")
    report.line(f"{label}: RSS", f"{after['rss_mib']:8.1f} MiB")


async def main(options: argparse.Namespace, report: Report) -> None:
    rate = await measure_bare_rate(min(options.seconds, 4))
    report.line("bare aiohttp route that closes", f"{rate:8.0f} connections/s")
    for mount in options.mount or ("server", "aiohttp", "uvicorn"):
        await measure_mount(mount, rate, options, report)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mount", action="append", choices=["server", "aiohttp", "uvicorn"])
    parser.add_argument("--deliveries", type=int, default=20_000, help="hostile ones at half the bare route's rate")
    parser.add_argument("--seconds", type=float, default=8, help="of overload, and of silent connections")
    parser.add_argument("--idle", type=int, default=5000, help="silent or dripping connections; 0 leaves them out")
    parser.add_argument("--allow", type=float, default=1.0, help="multiply the bounds, for a machine that is not idle")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a bound is missed")
    parsed = parser.parse_args()
    final_report = Report(parsed.check, parsed.allow)
    asyncio.run(main(parsed, final_report))
    sys.exit(final_report.exit_code)
