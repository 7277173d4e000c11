"""The command doctor: its JSON lines, its options, and the advice for what a provider answers."""

from __future__ import annotations

import re
import tomllib

import pytest

from aiowatermark.cli.doctor.local_checks import EXTRAS, REQUIRED, check_packages
from aiowatermark.emulator import Emulator, Fault
from tests.support.cli import Cli
from tests.support.http_server import free_port
from tests.support.processes import REPOSITORY


async def test_json_lines_are_versioned_and_nothing_else_is_printed(cli: Cli, emulator: Emulator) -> None:
    cli.use_keys_of(emulator)
    port = str(free_port())
    options = ["--provider", "kaze", "--base-url", emulator.base_url, "--store", "new.db"]
    options += ["--callback-url", f"http://127.0.0.1:{port}/wm", "--callback-port", port]
    finished = await cli("doctor", "--json", *options)
    assert finished.code == 0, finished.text
    assert finished.err == ""
    assert all(line.keys() == {"v", "check", "ok", "text", "advice"} and line["v"] == 1 for line in finished.lines)
    checks = list(dict.fromkeys(line["check"] for line in finished.lines))
    assert checks == ["packages", "keys", "proxy", "clock", "provider", "callbacks", "store"]
    assert "canary" not in finished.text


async def test_a_failure_is_in_the_json_lines_and_in_the_exit_code(cli: Cli) -> None:
    finished = await cli("doctor", "--json", "--provider", "picwish")
    assert finished.code == 1
    (failure,) = [line for line in finished.lines if line["ok"] is False]
    assert failure["check"] == "keys"
    assert failure["advice"] == "set PICWISH_API_KEY to the key of your PicWish account"


async def test_a_base_url_without_a_provider_is_refused_unless_it_is_in_the_environment(cli: Cli) -> None:
    finished = await cli("doctor", "--base-url", "http://127.0.0.1:1")
    assert finished.code == 2
    assert "--base-url has no use without --provider" in finished.err
    cli.env["AIOWATERMARK_BASE_URL"] = "http://127.0.0.1:1"
    finished = await cli("doctor")
    assert finished.code == 0, finished.text


async def test_an_address_in_the_environment_is_a_line_among_the_checks_of_the_provider(
    cli: Cli, emulator: Emulator
) -> None:
    cli.use_keys_of(emulator)
    cli.env["AIOWATERMARK_BASE_URL"] = emulator.base_url
    finished = await cli("doctor", "--json", "--provider", "kaze")
    assert (finished.code, finished.err) == (0, "")
    note = next(line for line in finished.lines if line["check"] == "provider")
    assert note["ok"] is None
    assert note["text"] == f"requests go to {emulator.base_url} (AIOWATERMARK_BASE_URL)"


@pytest.mark.parametrize("options", [(), ("--provider", "kaze")])
async def test_an_address_in_the_environment_that_is_not_valid_is_one_failure_and_no_problem_of_a_key(
    cli: Cli, options: tuple[str, ...]
) -> None:
    cli.env |= {"KAZE_API_KEY": "any", "PICWISH_API_KEY": "any", "AIOWATERMARK_BASE_URL": "https://["}
    finished = await cli("doctor", "--json", *options)
    assert finished.code == 1
    (failure,) = [line for line in finished.lines if line["ok"] is False]
    assert failure["check"] == "provider"
    assert failure["text"].startswith("AIOWATERMARK_BASE_URL must be an absolute URL such as")
    assert failure["advice"] == "correct AIOWATERMARK_BASE_URL, or unset it"


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (401, "set KAZE_API_KEY to the key that `aiowatermark emulator` prints at its start"),
        (402, "add credits to your Kaze account"),
        pytest.param(  # it is asked again some times
            *(500, "wait some minutes and run doctor again: Kaze answers, but with an error of its own"),
            marks=pytest.mark.slow,
        ),
    ],
)
async def test_the_advice_fits_what_the_provider_answers(
    cli: Cli, emulator: Emulator, status: int, advice: str
) -> None:
    cli.use_keys_of(emulator)
    emulator.inject(Fault.status(status), provider="kaze", step="credits", times=None)
    finished = await cli("doctor", "--json", "--provider", "kaze", "--base-url", emulator.base_url)
    assert finished.code == 1
    assert [line["advice"] for line in finished.lines if line["ok"] is False] == [advice]


def test_every_extra_that_users_install_is_checked() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    text = "\n".join(result.text for result in check_packages())
    extras = project["optional-dependencies"].keys() - {"test", "lint", "docs", "all"}
    assert [extra for extra in extras if f"extra [{extra}]" not in text] == []


def test_the_versions_and_extras_that_are_checked_are_those_of_the_project() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    requirements = [re.fullmatch(r"([a-z]+)>=([\d.]+),<.*", each) for each in project["dependencies"]]
    assert {each[1]: each[2] for each in requirements if each} == REQUIRED
    for extra, packages in EXTRAS.items():
        named = {re.split(r"[\[>]", each)[0] for each in project["optional-dependencies"][extra]} - {"aiowatermark"}
        assert set(packages.values()) == named
