"""The package that docs/adding-a-provider.md shows, as it stands: by itself, and through the command line."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

import aiowatermark as aw
from tests.support.cli import Cli
from tests.support.http_server import serve_application
from tests.support.images import make_jpeg
from tests.support.packages import install_documented_package, install_package, installed
from tests.support.processes import REPOSITORY, ROOT, run_python

DOCUMENT = (REPOSITORY / "docs/adding-a-provider.md").read_text()
PROGRAM = re.findall(r"^```python\n(.*?)^```$", DOCUMENT, re.DOTALL | re.MULTILINE)[-1]
(PYPROJECT,) = re.findall(r"^```toml\n(.*?)^```$", DOCUMENT, re.DOTALL | re.MULTILINE)
KEY = "canary-acme-1"


class AcmeServer:
    """The API that the document's program is for: a job is running once and then done; results are the uploads."""

    def __init__(self) -> None:
        self.images: list[bytes] = []
        self.queries = 0
        self.application = web.Application()
        self.application.router.add_post("/v1/jobs", self.submit)
        self.application.router.add_get("/v1/jobs/{id}", self.query)
        self.application.router.add_get("/results/{id}", self.result)

    async def submit(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == f"Bearer {KEY}"
        image = (await request.post())["image"]
        assert isinstance(image, web.FileField)
        self.images.append(image.file.read())
        return web.json_response({"id": len(self.images), "state": "queued"}, status=201)

    async def query(self, request: web.Request) -> web.Response:
        self.queries += 1
        if self.queries == 1:
            return web.json_response({"id": 1, "state": "working"})
        url = str(request.url.origin().with_path("/results/1"))
        return web.json_response({"id": request.match_info["id"], "state": "done", "result": url})

    async def result(self, request: web.Request) -> web.Response:
        assert "Authorization" not in request.headers
        return web.Response(body=self.images[-1], content_type="image/jpeg")


@pytest.fixture
def server() -> AcmeServer:
    return AcmeServer()


@pytest.fixture
async def base_url(server: AcmeServer) -> AsyncIterator[str]:
    async with serve_application(server.application) as url:
        yield url


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    folder = tmp_path / "packages"
    folder.mkdir()
    return folder


def use_packages(cli: Cli, folder: Path) -> None:
    cli.env |= {"PYTHONPATH": os.pathsep.join(map(str, (folder, ROOT, REPOSITORY))), "ACME_API_KEY": KEY}
    (cli.folder / "photo.jpg").write_bytes(make_jpeg())


def test_the_documented_program_has_at_most_60_lines() -> None:
    assert len(PROGRAM.splitlines()) <= 60


@pytest.mark.slow
async def test_the_documented_program_removes_a_watermark_by_itself(
    server: AcmeServer, base_url: str, tmp_path: Path
) -> None:
    (tmp_path / "acme.py").write_text(PROGRAM)
    (tmp_path / "photo.jpg").write_bytes(make_jpeg())
    variables = {"ACME_API_KEY": KEY}
    finished = await run_python("acme.py", "photo.jpg", "clean.jpg", base_url, folder=tmp_path, variables=variables)
    assert finished.code == 0, finished.text
    assert (tmp_path / "clean.jpg").read_bytes() == make_jpeg()
    assert len(server.images) == 1


async def test_the_documented_provider_is_found_by_its_name(
    server: AcmeServer, base_url: str, packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_documented_package(packages, PROGRAM, PYPROJECT)
    monkeypatch.setenv("ACME_API_KEY", KEY)
    with installed(packages, monkeypatch):
        assert "acme" in aw.provider_names()
        provider = aw.provider_class("acme").from_env(base_url=base_url)
        async with aw.Client(provider, polling=aw.Polling(0.01)) as client:
            handle = await client.submit(make_jpeg())
            assert await (await handle).read() == make_jpeg()
            assert aw.Record.from_token(handle.token).provider == "acme"


@pytest.mark.slow
async def test_the_command_line_uses_the_documented_package(
    cli: Cli, server: AcmeServer, base_url: str, packages: Path, tmp_path: Path
) -> None:
    install_documented_package(packages, PROGRAM, PYPROJECT)
    use_packages(cli, packages)
    finished = await cli("remove", "photo.jpg", "--provider", "acme", "--base-url", base_url, "-o", "clean")
    assert finished.code == 0, finished.text
    assert (tmp_path / "clean/photo-clean.jpg").read_bytes() == make_jpeg()
    finished = await cli("doctor", "--provider", "acme", "--base-url", base_url)
    assert "ok      Acme: ACME_API_KEY set" in finished.out


@pytest.mark.slow
async def test_a_recording_of_a_package_has_paths_by_its_capabilities(
    cli: Cli, server: AcmeServer, base_url: str, packages: Path, tmp_path: Path
) -> None:
    install_documented_package(packages, PROGRAM, PYPROJECT)
    use_packages(cli, packages)
    arguments = ("record", "--provider", "acme", "--base-url", base_url, "-o", "out", "--path", "submit-file")
    listed = await cli(*arguments)
    assert "submit-file" in listed.out
    finished = await cli(*arguments, "--yes-this-costs")
    assert finished.code == 0, finished.text
    assert "3 entries that tests can play, 0 that they cannot" in finished.out
    assert "canary" not in (tmp_path / "out/acme-1.json").read_text()


@pytest.mark.slow
async def test_help_reads_the_names_of_packages_and_imports_none(cli: Cli, packages: Path) -> None:
    install_package(packages, "acme-wm", {"acme": "acme:Acme"}, "raise AssertionError('imported')")
    use_packages(cli, packages)
    finished = await cli("remove", "--help")
    assert finished.code == 0, finished.text
    assert "acme|dewatermark|gptge" in "".join(finished.out.split())
    assert (await cli("--help")).code == 0


@pytest.mark.slow
async def test_a_broken_package_is_one_line_and_the_other_providers_work(cli: Cli, packages: Path) -> None:
    install_package(packages, "acme-wm", {"acme": "acme:Acme", "kaze": "acme:Kaze"}, "import missing_module")
    use_packages(cli, packages)
    finished = await cli("credits", "--provider", "acme")
    assert finished.code == 2
    assert finished.err == (
        "Error: the provider acme of the package acme-wm 1.0 cannot be loaded: ModuleNotFoundError: No module named "
        "'missing_module'\n"
    )
    doctor = await cli("doctor")
    assert doctor.code == 1
    assert "failed  the provider acme of the package acme-wm 1.0 cannot be loaded" in doctor.out
    assert "-       acme-wm 1.0 offers a provider with the built-in name kaze: it is ignored" in doctor.out
    assert "-       PicWish: PICWISH_API_KEY not set" in doctor.out


QUALITY = """
from attrs import field, frozen, validators

import aiowatermark as aw


@frozen
class AcmeOptions:
    quality: int = field(default=80, validator=validators.le(100))


class Acme(aw.Kaze):
    name = "acme"
    display_name = "Acme"
    env = {"api_key": "ACME_API_KEY"}
    Options = AcmeOptions
"""


def test_an_option_that_a_packages_validator_refuses_is_invalid_input(
    packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_package(packages, "acme-wm", {"acme": "acme:Acme"}, QUALITY)
    monkeypatch.setenv("ACME_API_KEY", KEY)
    with installed(packages, monkeypatch), pytest.raises(aw.InvalidInput, match="Acme does not accept the option qual"):
        aw.provider_class("acme").from_env().resolve_options({"quality": 800})


@pytest.mark.slow
async def test_an_option_that_a_packages_validator_refuses_is_one_line_of_the_command_line(
    cli: Cli, packages: Path
) -> None:
    install_package(packages, "acme-wm", {"acme": "acme:Acme"}, QUALITY)
    use_packages(cli, packages)
    finished = await cli("remove", "photo.jpg", "--provider", "acme", "--option", "quality=800", "-o", "clean")
    assert finished.code == 2
    assert finished.err == "Error: Acme does not accept the option quality: 'quality' must be <= 100: 800\n"
