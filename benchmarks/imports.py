"""Benchmark of start-up: `import aiowatermark` compared with `import aiohttp`, and the command's `--help`.

    python benchmarks/imports.py [--rounds 9] [--cpu] [--check]

Each measurement is a new process; the commands alternate. The default is wall-clock time. `--cpu` measures the
process's CPU time instead, which depends less on what else the machine runs.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # runs from a clone that is not installed

import aiowatermark
from benchmarks.measure import Report, median_ratio

IMPORT_BOUND = 3.0
HELP_BOUND = 1.0
COMMANDS = {
    "python": ("-c", "pass"),
    "import aiohttp": ("-c", "import aiohttp"),
    # the package imports its modules on first use: name what a first job needs, so that this cost is included
    "import aiowatermark": ("-c", "import aiowatermark as aw; aw.Client, aw.PicWish"),
    "aiowatermark --help": ("-m", "aiowatermark", "--help"),
}


def run_process(arguments: tuple[str, ...], *, cpu: bool) -> float:
    """Run one new Python process; returns its duration or its CPU time in ms."""
    package = str(Path(aiowatermark.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": package, "PYTHONDEVMODE": ""}
    before, cpu_before = time.perf_counter(), _children_cpu()
    # no timeout: subprocess.run with one polls every 50 ms, which would be the resolution of the clock
    # -P: the working directory must not shadow the package
    subprocess.run([sys.executable, "-P", *arguments], check=True, stdout=subprocess.DEVNULL, env=environment)
    return 1e3 * (_children_cpu() - cpu_before if cpu else time.perf_counter() - before)


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> int:
    """Run the commands in turn and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--cpu", action="store_true", help="measure CPU time instead of wall-clock time")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a bound is missed")
    parser.add_argument("--allow", type=float, default=1.0, help="multiply the bounds, for noisy machines")
    options = parser.parse_args()
    report = Report(options.check, options.allow)
    report.line("package", str(Path(aiowatermark.__file__).parent))
    commands = dict(COMMANDS)
    if importlib.util.find_spec("click") is None or importlib.util.find_spec("aiowatermark.cli") is None:
        del commands["aiowatermark --help"]
        report.line("aiowatermark --help", "not measured: the extra [cli] is not installed")
    durations: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(options.rounds + 1):
        for name, arguments in commands.items():
            duration = run_process(arguments, cpu=options.cpu)
            if number:  # the first round writes bytecode and warms the page cache
                durations[name].append(duration)
    for name, values in durations.items():
        report.line(name, f"{statistics.median(values):8.1f} ms")
    aiohttp = durations["import aiohttp"]
    ratio = median_ratio(durations["import aiowatermark"], aiohttp)
    report.bound("import aiowatermark / import aiohttp", ratio, IMPORT_BOUND, "x")
    if "aiowatermark --help" in durations:
        ratio = median_ratio(durations["aiowatermark --help"], aiohttp)
        report.bound("aiowatermark --help / import aiohttp", ratio, HELP_BOUND, "x")
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
