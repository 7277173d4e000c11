"""Measurement helpers that all benchmarks share: CPU time, memory, percentiles, and a report with bounds."""

from __future__ import annotations

import gc
import resource
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path

from attrs import define, field

KIB = 1 << 10
MIB = 1 << 20

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")


def _read_status(name: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * KIB
    raise LookupError(name)


def resident_bytes() -> int:
    """Return the resident memory of this process in bytes; where /proc is missing, the peak instead."""
    return _read_status("VmRSS") if _STATUS.exists() else peak_bytes()


def peak_bytes() -> int:
    """Return the peak resident memory of this process in bytes, since its start or since `reset_peak`."""
    if _STATUS.exists():
        return _read_status("VmHWM")  # ru_maxrss is inherited from the parent process across fork and exec
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else KIB)


def reset_peak() -> None:
    """Set the peak to the memory that is resident now; does nothing where the kernel cannot."""
    if _CLEAR_REFS.exists():
        _CLEAR_REFS.write_text("5")


def percentile(values: Iterable[float], share: float) -> float:
    """Return the value that `share` (0..1) of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


async def measure_interleaved(
    rounds: int, runs: Mapping[str, Callable[[], Awaitable[object]]]
) -> dict[str, list[float]]:
    """Run all `runs` in turn (A B A B …) and return the CPU seconds of each per round.

    A first round warms up caches and is not counted.
    """
    spent: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            gc.collect()
            before = time.process_time()
            await run()
            if number:
                spent[name].append(time.process_time() - before)
    return spent


def median_ratio(numerators: list[float], denominators: list[float]) -> float:
    """Return the median of the ratios of each round: runs that are close in time share the machine's noise."""
    return statistics.median(a / b for a, b in zip(numerators, denominators, strict=True))


@define
class Report:
    """Prints measurements and compares them with their bounds.

    `check`: a missed bound makes `exit_code` 1. `factor` multiplies every bound, for noisy machines.
    """

    check: bool = False
    factor: float = 1.0
    missed: list[str] = field(factory=list)

    def line(self, label: str, text: str) -> None:
        """Print a measurement that has no bound."""
        print(f"{label:<46} {text}", flush=True)

    def bound(self, label: str, value: float, bound: float, unit: str) -> None:
        """Print a measurement and whether it is at most `bound` times the factor."""
        bound *= self.factor
        within = value <= bound
        if not within:
            self.missed.append(label)
        self.line(label, f"{value:8.2f} {unit:<4} (bound {bound:g}) {'ok' if within else 'MISSED'}")

    def require(self, condition: str, *, true: bool) -> None:
        """Exit with an error unless a condition holds without which the numbers mean nothing."""
        if not true:
            sys.exit(f"the measurement is not valid: {condition}")

    @property
    def exit_code(self) -> int:
        """Return 1 if bounds are checked and one was missed, else 0."""
        return 1 if self.check and self.missed else 0
