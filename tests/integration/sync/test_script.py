"""`aw.remove`: one line for scripts."""

from __future__ import annotations

from pathlib import Path

import pytest

import aiowatermark as aw
from aiowatermark.emulator import Emulator, Fault, pictures
from tests.support.log_search import KEYS

PHOTO = pictures.sample_photo()


def test_one_line_saves_the_result_and_returns_its_path(threaded_emulator: Emulator, tmp_path: Path) -> None:
    target = tmp_path / "clean.jpg"
    assert aw.remove(PHOTO, target, provider=threaded_emulator.provider("gptge"), sync=False) == target
    assert target.read_bytes() == PHOTO
    in_folder = aw.remove(PHOTO, tmp_path, provider=threaded_emulator.provider("gptge"))
    assert in_folder.parent == tmp_path
    assert in_folder.read_bytes() == PHOTO


async def test_it_works_where_an_event_loop_is_running(threaded_emulator: Emulator, tmp_path: Path) -> None:
    assert aw.remove(PHOTO, tmp_path / "a.jpg", provider=threaded_emulator.provider("kaze")).read_bytes() == PHOTO


def test_the_name_of_a_provider_stands_for_the_account_of_the_environment(
    threaded_emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aw.GptGe, "from_env", lambda: threaded_emulator.provider("gptge"))
    assert aw.remove(PHOTO, tmp_path / "a.jpg", provider="gptge").read_bytes() == PHOTO


def test_a_missing_key_and_an_unknown_name_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PICWISH_API_KEY", raising=False)
    with pytest.raises(aw.InvalidInput, match="PICWISH_API_KEY"):
        aw.remove(PHOTO, tmp_path / "a.jpg", provider="picwish")
    with pytest.raises(aw.InvalidInput, match="'pickwish' is not a provider: choose one of"):
        aw.remove(PHOTO, tmp_path / "a.jpg", provider="pickwish")


def test_nothing_is_paid_for_a_result_that_cannot_be_saved(threaded_emulator: Emulator, tmp_path: Path) -> None:
    with pytest.raises(aw.InvalidInput, match="cannot be written"):
        aw.remove(PHOTO, tmp_path / "no" / "folder.jpg", provider=threaded_emulator.provider("kaze"))
    assert threaded_emulator.charged["kaze"] == 0
    assert list(tmp_path.iterdir()) == []


def test_an_error_after_the_job_was_accepted_has_the_token(threaded_emulator: Emulator, tmp_path: Path) -> None:
    provider = threaded_emulator.provider("gptge")
    threaded_emulator.inject(Fault.status(503), provider="gptge", step="query", times=None)
    with pytest.raises(aw.DeadlineExceeded) as caught:
        aw.remove(PHOTO, tmp_path / "a.jpg", provider=provider, deadline=0.3)
    (note,) = caught.value.__notes__
    assert "resume it with its token" in note
    assert str(KEYS["gptge"]) not in note
