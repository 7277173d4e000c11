"""Every Python block in the README and in docs/ runs; the provider that docs/adding-a-provider.md describes works."""

from __future__ import annotations

import ast
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from aiohttp import web
from fastapi import FastAPI

import aiowatermark as aw
from aiowatermark import sync
from aiowatermark.emulator import Emulator, pictures
from aiowatermark.emulator.apis import APIS
from aiowatermark.testing import ScriptedTransport, json_response
from tests.support import documents
from tests.support.cassettes import as_fields, play
from tests.support.documents import run
from tests.support.http_server import free_port
from tests.support.processes import REPOSITORY

DASK = "aiowatermark.dask"
URL = "https://results.example/clean.jpg"


def read_blocks(document: str) -> list[str]:
    return documents.read_blocks(REPOSITORY / document)


async def run_blocks(document: str, names: dict[str, Any], replaced: Mapping[str, str]) -> None:
    blocks = [block for block in read_blocks(document) if DASK not in block]
    assert blocks
    await documents.run_blocks(blocks, names, replaced)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the files that the documents name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.jpg").write_bytes(pictures.sample_photo())
    (tmp_path / "logo.png").write_bytes(pictures.sample_mark())
    return tmp_path


@pytest.mark.slow
async def test_the_code_in_the_readme_runs(watermark_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOWATERMARK_BASE_URL", watermark_emulator.base_url)
    monkeypatch.setenv("PICWISH_API_KEY", str(watermark_emulator.keys["picwish"]))
    *blocks, _ = read_blocks("README.md")
    for number, block in enumerate(blocks, start=1):
        await run(block, {})
        assert Path("clean.jpg").read_bytes() == Path("photo.jpg").read_bytes()
        Path("clean.jpg").unlink()
        assert watermark_emulator.picwish.charged == number
    assert len(blocks) == 2


async def test_the_test_in_the_readme_passes(watermark_emulator: Emulator, no_waiting: None) -> None:
    names: dict[str, Any] = {}
    await run(read_blocks("README.md")[-1], names)
    await names["test_a_lost_answer_is_not_charged_twice"](watermark_emulator, no_waiting)
    assert watermark_emulator.kaze.charged == 1


@pytest.mark.slow
def test_the_test_files_about_testing_pass_as_they_stand(tmp_path: Path) -> None:
    blocks = read_blocks("docs/testing.md")
    names = [re.match(r"# (test_\w+\.py)\n", block) for block in blocks]
    assert len(blocks) == 3
    for name, block in zip(names, blocks, strict=True):
        assert name is not None
        (tmp_path / name[1]).write_text(block)
    (tmp_path / "pyproject.toml").write_text(
        '[tool.pytest.ini_options]\nasyncio_mode = "auto"\nasyncio_default_fixture_loop_scope = "function"\n'
        'filterwarnings = ["error"]\n'
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "16 passed" in finished.stdout


async def test_the_code_about_the_emulator_runs() -> None:
    await run_blocks("docs/emulator.md", {}, {})


async def test_the_code_about_recovery_runs(emulator: Emulator, folder: Path) -> None:
    paths = [folder / f"{number}.jpg" for number in range(3)]
    for number, path in enumerate(paths):
        path.write_bytes(pictures.sample_photo(seed=number))
    names = {"aw": aw, "provider": emulator.provider("gptge"), "paths": paths}
    await run_blocks("docs/recovery.md", names, {})
    assert emulator.charged["gptge"] == 4
    assert all(path.with_stem(f"{path.stem}-clean").exists() for path in paths)


async def test_the_code_about_logs_events_and_numbers_runs(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("logging.basicConfig", lambda **_: None)
    await run_blocks("docs/observability.md", {"provider": emulator.provider("gptge")}, {})
    assert emulator.charged["gptge"] == 2


async def test_the_code_beyond_the_usual_call_runs() -> None:
    # the emulator is strict: it refuses a field that no document describes
    accepted = json_response(200, {"x-request-id": "r-1"}, status=200, data={"task_id": "t", "state": 1, "file": URL})
    transport = ScriptedTransport(submissions=[accepted])
    async with aw.Client(aw.PicWish("canary-key"), transport=transport) as client:
        await run_blocks("docs/advanced.md", {"aw": aw, "client": client}, {})
    assert transport.submitted == 2


async def test_the_code_about_inputs_runs(emulator: Emulator) -> None:
    async with aw.Client(emulator.provider("gptge")) as client:
        await run_blocks("docs/inputs.md", {"client": client}, {})
    assert emulator.charged["gptge"] == 7
    assert Path("clean-1.jpg").exists()


async def test_the_code_about_the_providers_runs(emulator: Emulator, folder: Path) -> None:
    url = emulator.host((folder / "photo.jpg").read_bytes(), "1.jpg")
    replaced = {
        'aw.PicWish(api_key="…")': 'emulator.provider("picwish")',
        'aw.GptGe(api_key="…")': 'emulator.provider("gptge")',
        'aw.Kaze(api_key="…")': 'emulator.provider("kaze")',
        'aw.PhotoEraser("…", "…")': 'emulator.provider("photoeraser")',
        'aw.Dewatermark(api_key="…")': 'emulator.provider("dewatermark")',
        "https://images.example.com/1.jpg": url,
    }
    for page in sorted(REPOSITORY.glob("docs/providers/*.md")):
        await run_blocks(f"docs/providers/{page.name}", {"aw": aw, "emulator": emulator}, replaced)
    assert emulator.charged == {"picwish": 3, "gptge": 2, "kaze": 1, "photoeraser": 1, "dewatermark": 3}


def test_no_example_of_a_key_is_the_name_of_a_file() -> None:
    for document in (*documents.DOCUMENTS, *REPOSITORY.glob("examples/*.py")):
        assert not re.search(r"key=.*\bpath\.name\b", document.read_text()), document


async def test_the_code_about_synchronous_use_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = import_module("django.conf").settings
    if not settings.configured:
        settings.configure()
    (folder / "photos").mkdir()
    paths = [folder / "photos" / f"{number}.jpg" for number in range(3)]
    for number, path in enumerate(paths):
        path.write_bytes(pictures.sample_photo(seed=number))
    with sync.open_in_thread(Emulator(restore=False, processing=0.0)) as emulator:
        monkeypatch.setattr(aw.PicWish, "from_env", lambda: emulator.provider("picwish"))
        names: dict[str, Any] = {"__name__": __name__}
        await run_blocks("docs/sync.md", names, {})
        with closing(names["client"]):
            replies = [post_to_flask(names["app"], paths[0]), post_to_django(names["clean_photo"], paths[0])]
        assert replies == [(200, paths[0].read_bytes())] * 2
        assert emulator.charged["picwish"] == 8
    assert all(path.with_stem(f"{path.stem}-clean").exists() for path in paths)
    assert (folder / "clean.jpg").exists()


def post_to_flask(app: Any, photo: Path) -> tuple[int, bytes]:
    response = app.test_client().post("/clean", data=photo.read_bytes())
    return response.status_code, response.data


def post_to_django(view: Any, photo: Path) -> tuple[int, bytes]:
    with photo.open("rb") as file:
        response = view(import_module("django.test").RequestFactory().post("/", {"photo": file}))
    return response.status_code, response.content


async def test_the_code_about_webhooks_runs(emulator: Emulator) -> None:
    port = free_port()
    names: dict[str, Any] = {
        "aw": aw,
        "emulator": emulator,
        "aiohttp_app": web.Application(),
        "fastapi_app": FastAPI(),
        "key": "unknown",
        "body": b"{}",
        "content_type": "application/json",
    }
    replaced = {
        'aw.GptGe(api_key="…")': 'emulator.provider("gptge")',
        "https://hooks.example.com/wm": f"http://127.0.0.1:{port}/wm",
        "port=8080": f"port={port}",
    }
    await run_blocks("docs/webhooks.md", names, replaced)
    assert names["result"].url
    assert emulator.tasks[0].queries == 1
    assert names["status"] == 404


def test_the_code_about_dask_compiles_and_names_what_exists() -> None:
    (block,) = [block for block in read_blocks("docs/recovery.md") if DASK in block]
    compile(block, "<block>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    dask = pytest.importorskip(DASK)
    (imported,) = [node for node in ast.walk(ast.parse(block)) if isinstance(node, ast.ImportFrom)]
    assert all(hasattr(dask, alias.name) for alias in imported.names)
    assert {"cluster", "open_client", "folder", "key"} <= inspect.signature(dask.DaskRunner).parameters.keys()
    assert inspect.isasyncgenfunction(dask.DaskRunner.run)


def make_module(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType(name)
    module.__package__ = name.rpartition(".")[0]
    monkeypatch.setitem(sys.modules, name, module)
    return module


async def test_a_provider_written_like_the_documented_one_removes_a_watermark(monkeypatch: pytest.MonkeyPatch) -> None:
    provider, flow, api, _ = read_blocks("docs/adding-a-provider.md")
    providers = make_module("aiowatermark.providers.example", monkeypatch)
    await run(provider, vars(providers))
    await run(flow, dict(vars(providers)))
    apis = make_module("aiowatermark.emulator.apis.example", monkeypatch)
    await run(api, vars(apis))
    monkeypatch.setitem(APIS, "example", vars(apis)["Example"])
    async with Emulator(restore=False, processing=0.0) as emulator:
        account = vars(providers)["Example"](emulator.keys["example"], base_url=emulator.base_url)
        async with aw.Client(account, polling=aw.Polling(first=0.01), deadline=20) as client:
            result = await client.remove("photo.jpg")
            assert await result.read() == Path("photo.jpg").read_bytes()
            # links=False: the client downloads a URL and uploads the file
            assert (await client.remove(emulator.host(pictures.sample_photo(), "photo.jpg"))).url
        assert emulator.charged["example"] == 2


async def test_the_documented_cassettes_match_the_documented_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (REPOSITORY / "docs/adding-a-provider.md").read_text()
    (block,) = re.findall(r"^```json\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    file = json.loads(block)
    module = make_module("aiowatermark.providers.example", monkeypatch)
    await run(read_blocks("docs/adding-a-provider.md")[0], vars(module))
    provider = vars(module)["Example"](**file["account"])
    for cassette in file["cassettes"]:
        snapshot, _ = play(provider, cassette, file["auth"])
        assert as_fields(snapshot) == cassette["snapshot"]
    assert {cassette["call"] for cassette in file["cassettes"]} == {"submit", "query"}
