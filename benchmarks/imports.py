"""What starting costs: `import aiowatermark` above `import aiohttp`, and the command's `--help`.

    python benchmarks/imports.py [--rounds 9] [--cpu] [--check]

Each is a new process, in turns; wall-clock time, or with `--cpu` the process's own CPU time, which a busy machine
does not falsify.
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

sys.path.append(str(Path(__file__).parents[1]))  # a clone needs no installation

import aiowatermark
from benchmarks.measure import Report

IMPORT_BOUND = 60.0
HELP_BOUND = 200.0
COMMANDS = {
    "python": ("-c", "pass"),
    "import aiohttp": ("-c", "import aiohttp"),
    # what a first job needs is asked for, so that a package that loads its parts late gains nothing here
    "import aiowatermark": ("-c", "import aiowatermark as aw; aw.Client, aw.PicWish"),
    "aiowatermark --help": ("-m", "aiowatermark", "--help"),
}


def started(arguments: tuple[str, ...], *, cpu: bool) -> float:
    """Milliseconds one new process takes."""
    package = str(Path(aiowatermark.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": package, "PYTHONDEVMODE": ""}
    before, used = time.perf_counter(), _children()
    # no timeout: waiting with one looks every 50 ms, and that is all the clock would show; -P: not what lies about here
    subprocess.run([sys.executable, "-P", *arguments], check=True, stdout=subprocess.DEVNULL, env=environment)
    return 1e3 * (_children() - used if cpu else time.perf_counter() - before)


def _children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> int:
    """All of them in turns, then the verdict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--cpu", action="store_true", help="CPU time in place of wall-clock time")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a bound is missed")
    parser.add_argument("--allow", type=float, default=1.0, help="multiply the bounds, for noisy machines")
    options = parser.parse_args()
    report = Report(options.check, options.allow)
    report.line("package", str(Path(aiowatermark.__file__).parent))
    commands = dict(COMMANDS)
    if importlib.util.find_spec("click") is None or importlib.util.find_spec("aiowatermark.cli") is None:
        del commands["aiowatermark --help"]
        report.line("aiowatermark --help", "not measured: the extra [cli] is not installed")
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(options.rounds + 1):
        for name, arguments in commands.items():
            spent = started(arguments, cpu=options.cpu)
            if turn:  # the first one writes and warms caches
                taken[name].append(spent)
    for name, spans in taken.items():
        report.line(name, f"{statistics.median(spans):8.1f} ms")
    pairs = zip(taken["import aiowatermark"], taken["import aiohttp"], strict=True)
    above = statistics.median(ours - theirs for ours, theirs in pairs)
    report.bound("aiowatermark above aiohttp", above, IMPORT_BOUND, "ms")
    if "aiowatermark --help" in taken:
        report.bound("aiowatermark --help", statistics.median(taken["aiowatermark --help"]), HELP_BOUND, "ms")
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
