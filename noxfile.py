"""Checks in environments of their own: `nox -l` lists them, `nox -s tests-3.13 -- -k redis` runs one with arguments.

`.ci/run` is what a change must pass; this runs its parts on every supported Python. Needs `pip install nox uv`.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import nox

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["tests", "slow", "lint", "types", "docs"]

PYTHONS = ("3.11", "3.12", "3.13")
OLDEST = PYTHONS[0]


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests of at most two seconds each."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "pytest", "-n", "auto", *session.posargs)


@nox.session(python=PYTHONS)
def slow(session: nox.Session) -> None:
    """Run the slow tests: crashes, examples, browsers, type checkers on the documents."""
    session.install("-e", ".[test,lint]")
    session.run("python", "-m", "pytest", "-n", "auto", "-m", "slow", "--timeout", "1200", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and format."""
    session.install("ruff>=0.14,<1")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session(python=OLDEST)
def types(session: nox.Session) -> None:
    """Check the types of package, tests, examples and benchmarks with mypy and pyright."""
    session.install("-e", ".[test,lint]")
    session.run("mypy")
    session.run("pyright", "--pythonpath", f"{session.bin}/python")


@nox.session(python=OLDEST)
def docs(session: nox.Session) -> None:
    """Build the site; a warning is an error."""
    session.install("-e", ".[docs]")
    session.run("python", "-m", "sphinx", "-W", "--keep-going", "-n", "-q", "-E", "docs", "docs/_build/html")


@nox.session
def bench(session: nox.Session) -> None:
    """Run the benchmarks that are tests; the machine should be otherwise idle."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "pytest", "-m", "benchmark", *session.posargs)


@nox.session(python=OLDEST)
def lowest(session: nox.Session) -> None:
    """Run the tests with the lowest version of each direct dependency that pyproject.toml allows. Needs uv."""
    session.run_install("uv", "pip", "install", "--resolution", "lowest-direct", "-e", ".[test]", external=True)
    session.run("python", "-m", "pytest", "-n", "auto", *(session.posargs or ("tests/unit", "tests/integration")))


@nox.session(python=PYTHONS)
def package(session: nox.Session) -> None:
    """Test the sdist, and the wheel that is built from it, without the source tree."""
    session.install("build", "twine")
    work = Path(session.create_tmp()).resolve()
    shutil.rmtree(work / "dist", ignore_errors=True)
    session.run("python", "-m", "build", "-o", str(work / "dist"), ".")
    (sdist,), (wheel,) = (work / "dist").glob("*.tar.gz"), (work / "dist").glob("*.whl")
    session.run("twine", "check", "--strict", str(sdist), str(wheel))
    shutil.rmtree(work / "sources", ignore_errors=True)
    shutil.unpack_archive(sdist, work / "sources", filter="data")
    (sources,) = (work / "sources").iterdir()
    # the tests of the sdist, on the package of the wheel
    shutil.rmtree(sources / "aiowatermark")
    session.install(f"{wheel}[test]")
    session.chdir(sources)
    session.run("python", "-m", "pytest", "-n", "auto", *(session.posargs or ("tests/unit", "tests/end_to_end/cli")))
