"""What all benchmarks measure with: CPU, memory, medians, and a report that knows its bounds."""

from __future__ import annotations

import gc
import resource
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path

from attrs import define, field

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")

KIB = 1 << 10
MIB = 1 << 20


def _status(name: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * KIB
    raise LookupError(name)


def resident() -> int:
    """Bytes of memory this process holds now; only Linux tells, elsewhere it is the peak."""
    return _status("VmRSS") if _STATUS.exists() else peak()


def peak() -> int:
    """The most bytes this process ever held, or held since `forget_peak`."""
    if _STATUS.exists():
        return _status("VmHWM")  # ru_maxrss is inherited from whoever started this process
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else KIB)


def forget_peak() -> None:
    """Let the peak begin anew from what is held now, where the kernel can do that."""
    if _CLEAR.exists():
        _CLEAR.write_text("5")


def percentile(values: Iterable[float], share: float) -> float:
    """The value that `share` (0..1) of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


async def interleaved(rounds: int, runs: Mapping[str, Callable[[], Awaitable[object]]]) -> dict[str, list[float]]:
    """CPU seconds of each run in each round, A B A B …, after one round that warms up and does not count."""
    spent: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            gc.collect()
            before = time.process_time()
            await run()
            if turn:
                spent[name].append(time.process_time() - before)
    return spent


def ratio(above: list[float], below: list[float]) -> float:
    """The median over the rounds of what one cost in parts of the other: neighbours in time share their noise."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


@define
class Report:
    """Prints what was measured; with `check`, a bound that is missed makes the exit code 1."""

    check: bool = False
    factor: float = 1.0
    missed: list[str] = field(factory=list)

    def line(self, what: str, text: str) -> None:
        """Something without a bound."""
        print(f"{what:<46} {text}", flush=True)

    def bound(self, what: str, value: float, bound: float, unit: str) -> None:
        """Something that is to be at most `bound`, times what the command line allows."""
        bound *= self.factor
        kept = value <= bound
        if not kept:
            self.missed.append(what)
        self.line(what, f"{value:8.2f} {unit:<4} (bound {bound:g}) {'ok' if kept else 'MISSED'}")

    def require(self, what: str, *, true: bool) -> None:
        """A condition without which the numbers mean nothing."""
        if not true:
            sys.exit(f"the measurement is not valid: {what}")

    @property
    def exit_code(self) -> int:
        """0, or 1 where bounds are checked and one was missed."""
        return 1 if self.check and self.missed else 0
