"""The documents' own samples run against the emulator; only host, key and placeholders are replaced."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import define

from aiowatermark.emulator import Emulator
from tests.support.images import make_image
from tests.support.raw_api import RawApi, b64
from tests.support.videos import make_mp4_header

SAMPLES = Path(__file__).parent / "samples"
HOSTS = {
    "gptge": ("https://api.gpt.ge", "sk-xxxx"),
    "kaze": ("https://backend.kaze.ai", "Bearer '"),
    "dewatermark": ("https://platform.dewatermark.ai", "YOUR_API_KEY"),
}
VIDEO = make_mp4_header(51.3)


@define
class Samples:
    """Runs samples in one directory, against one emulator."""

    emulator: Emulator
    directory: Path

    async def run(self, name: str, replacements: Mapping[str, str] | None = None) -> str:
        """Run a sample and return what it prints."""
        text = self._adapt(name, replacements or {})
        program = [sys.executable, "-"] if name.endswith(".py") else ["bash"]
        environment = {"PATH": os.environ["PATH"], "NO_PROXY": "*", "HOME": str(self.directory)}
        process = await asyncio.create_subprocess_exec(
            *program,
            cwd=self.directory,
            env=environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(20):
            out, error = await process.communicate(text.encode())
        assert process.returncode == 0 or "command not found" in error.decode(), error.decode()
        return out.decode()

    async def json(self, name: str, replacements: Mapping[str, str] | None = None) -> Any:
        return json.loads(await self.run(name, replacements))

    def _adapt(self, name: str, replacements: Mapping[str, str]) -> str:
        host, placeholder = HOSTS[name.partition("_")[0]]
        key = self.emulator.keys[name.partition("_")[0]]
        assert isinstance(key, str)
        key = f"Bearer {key}'" if placeholder == "Bearer '" else key
        text = (SAMPLES / name).read_text().replace(host, self.emulator.base_url).replace(placeholder, key)
        # the only other change, which saves five seconds per poll
        text = text.replace("time.sleep(5)", "time.sleep(0.02)")
        for old, new in replacements.items():
            text = text.replace(old, new)
        return text


@pytest.fixture
def samples(api: RawApi, tmp_path: Path) -> Samples:
    jpeg = make_image(kind="jpeg")
    (tmp_path / "path/to/your").mkdir(parents=True)
    for name in ("input.jpeg", "IMAGE_FILE"):
        (tmp_path / name).write_bytes(jpeg)
    for name in ("MASK_BASE_FILE", "MASK_BRUSH_FILE", "mask_brush_manual_step_1.png", "mask_brush_manual_step_2.png"):
        (tmp_path / name).write_bytes(make_image(shade=255))
    for name in ("input_video.mp4", "path/to/your/video.mp4"):
        (tmp_path / name).write_bytes(VIDEO)
    return Samples(api.emulator, tmp_path)


async def test_gptge_curl(samples: Samples) -> None:
    answer = await samples.json("gptge_url.sh")
    assert (answer["status"], answer["data"]["state"]) == (200, 1)


async def test_gptge_python(samples: Samples) -> None:
    printed = await samples.run("gptge_url.py")
    assert "'state': 1" in printed
    assert "'state_detail': 'Complete'" in printed


async def test_kaze_curl_with_a_url_and_the_query(samples: Samples) -> None:
    submitted = await samples.json("kaze_url.sh")
    assert submitted["message"] == "success"
    await samples.emulator.tasks[0].done()
    answer = await samples.json("kaze_query.sh", {"aaabbbccc": submitted["data"]["task_id"]})
    assert answer["data"]["status"] == "success"


async def test_kaze_curl_with_base64_and_with_a_smear(samples: Samples, api: RawApi) -> None:
    image = b64(make_image())
    for name, placeholder in (("kaze_base64.sh", "xxxxxxxxxxxxxxx"), ("kaze_smear.sh", "xxxxxxxxxxxxxxxxx")):
        assert (await samples.json(name, {placeholder: image}))["code"] == 0
        await samples.emulator.tasks[-1].done()
        assert samples.emulator.tasks[-1].state == "succeeded"


async def test_kaze_curl_with_the_placeholder_itself_is_a_parameter_error(samples: Samples) -> None:
    assert (await samples.json("kaze_base64.sh"))["code"] == 1000


async def test_photo_eraser_json_with_its_placeholders_replaced(api: RawApi) -> None:
    text = (SAMPLES / "photoeraser_submit.json").read_text()
    unchanged = await api.submit_photoeraser(**json.loads(text))
    assert unchanged.status == 400
    text = text.replace("Downloadable image file link", api.emulator.host(make_image()))
    finished = await api.query_when_done("photoeraser", await api.submit_photoeraser(**json.loads(text)))
    assert [item["status"] for item in finished.data["list"]] == ["3", "3"]


async def test_dewatermark_authentication_sends_a_get_that_is_answered_405(samples: Samples) -> None:
    assert await samples.run("dewatermark_auth.py") == "405\n"
    key = str(samples.emulator.keys["dewatermark"])
    assert (await samples.json("dewatermark_auth.sh", {"<API-KEY>": key}))["error"]["code"] == 405


async def test_dewatermark_curl_with_all_fields_together(samples: Samples) -> None:
    key = str(samples.emulator.keys["dewatermark"])
    answer = await samples.json("dewatermark_picture.sh", {"API_KEY": key})
    assert answer["edited_image"]["image"]
    assert answer["session_id"] != "SESSION_ID"


async def test_dewatermark_python_with_both_refinements(samples: Samples) -> None:
    printed = await samples.run("dewatermark_picture.py")
    assert printed.startswith("Image saved to output_image.jpg")
    assert (samples.directory / "output_image.jpg").read_bytes() == (samples.directory / "input.jpeg").read_bytes()
    assert samples.emulator.charged["dewatermark"] == 3


async def test_dewatermark_credits(samples: Samples) -> None:
    assert await samples.run("dewatermark_credits.py") == "Available credit: 1000\n"
    assert (await samples.json("dewatermark_credits.sh"))["data"]["available_credit"] == 1000


async def test_dewatermark_video_curl_step_by_step(samples: Samples) -> None:
    ticket = await samples.json("dewatermark_video_upload.sh")
    placeholder = {"yIuf8WVuRE2pzP2WM48v": ticket["task_id"]}
    video = str(samples.directory / "input_video.mp4")
    await samples.run(
        "dewatermark_video_put.sh",
        {'"UPLOAD_SIGNED_URL"': f'"{ticket["upload_signed_url"]}"', "/path/to/your/video.mp4": video},
    )
    assert (await samples.json("dewatermark_video_start.sh", placeholder))["status"] == "CREATED"
    await samples.emulator.tasks[0].done()
    answer = await samples.json("dewatermark_video_query.sh", placeholder)
    assert (answer["status"], answer["duration"]) == ("COMPLETED", 51.3)


async def test_dewatermark_video_python_step_by_step(samples: Samples) -> None:
    printed = await samples.run("dewatermark_video_steps.py")
    assert "Video uploaded successfully" in printed
    assert "Duration: 51.3s" in printed
    assert (samples.directory / "processed_video.mp4").read_bytes() == VIDEO


async def test_dewatermark_video_python_complete_workflow(samples: Samples) -> None:
    printed = await samples.run("dewatermark_video_workflow.py")
    assert "Credit cost: 10.26 credits" in printed
    assert (samples.directory / "output_video.mp4").read_bytes() == VIDEO
    assert samples.emulator.leaks == 0
