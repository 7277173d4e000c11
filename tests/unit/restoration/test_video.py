"""Videos: marks are removed from every frame; size, times and sound stay as they were."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import av
import numpy as np
import pytest
from av.audio.frame import AudioFrame

from aiowatermark.emulator.pictures import sample_mark, sample_photo, stamp
from aiowatermark.emulator.restoration.pixels import encode_as
from aiowatermark.emulator.restoration.video.restore import VideoReport, probe, restore_video, sample_video
from tests.support.restored_media import read_frames, read_times, video_psnr

MARK = sample_mark(width=160)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same second of video, without and with the mark."""
    folder = tmp_path_factory.mktemp("clips")
    plain = sample_video(folder / "plain.mp4", seconds=1, seed=2)
    return plain, sample_video(folder / "marked.mp4", seconds=1, seed=2, mark=MARK)


def mark_mask(clips: tuple[Path, Path]) -> bytes:
    """The mask of where the clip's mark is."""
    return stamp(encode_as(next(read_frames(clips[0])), "png"), MARK)[1]


def add_audio(source: Path, target: Path) -> Path:
    """Write the video with a second of a tone to the target and return it."""
    with av.open(source) as old, av.open(target, "w") as new:
        video = new.add_stream_from_template(old.streams.video[0])
        audio = new.add_stream("aac", rate=44100)
        audio.layout = "mono"
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream = video
                new.mux(packet)
        wave = np.sin(np.arange(44100) / 16).astype(np.float32)[None]
        tone = AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
        tone.sample_rate = 44100
        new.mux(audio.encode(tone))
        new.mux(audio.encode(None))
    return target


def audio_packets(path: Path) -> list[bytes]:
    with av.open(path) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def test_a_known_mark_is_undone_in_every_frame(clips: tuple[Path, Path], tmp_path: Path) -> None:
    plain, marked = clips
    report = restore_video(marked, tmp_path / "out.mp4", mark=MARK)
    assert report == VideoReport(has_watermark=True, duration=1.0, frames=24)
    assert video_psnr(mark_mask(clips), plain, marked) < 18
    assert video_psnr(mark_mask(clips), plain, tmp_path / "out.mp4") > 32


def test_white_areas_of_a_mask_are_inpainted_in_every_frame(clips: tuple[Path, Path], tmp_path: Path) -> None:
    plain, marked = clips
    mask = mark_mask(clips)
    report = restore_video(marked, tmp_path / "out.mp4", mask=mask)
    assert report.has_watermark
    assert video_psnr(mask, plain, tmp_path / "out.mp4") > video_psnr(mask, plain, marked) + 6


def test_a_known_mark_under_the_mask_is_undone_rather_than_inpainted(clips: tuple[Path, Path], tmp_path: Path) -> None:
    restore_video(clips[1], tmp_path / "out.mp4", mask=mark_mask(clips), mark=MARK)
    assert video_psnr(mark_mask(clips), clips[0], tmp_path / "out.mp4") > 32


def test_size_frame_rate_and_times_are_kept(clips: tuple[Path, Path], tmp_path: Path) -> None:
    restore_video(clips[1], tmp_path / "out.mp4", mark=MARK)
    assert probe(tmp_path / "out.mp4") == probe(clips[1])
    assert read_times(tmp_path / "out.mp4") == pytest.approx(read_times(clips[1]), abs=1e-3)


def test_audio_is_copied_without_re_encoding(clips: tuple[Path, Path], tmp_path: Path) -> None:
    source = add_audio(clips[1], tmp_path / "sound.mp4")
    assert restore_video(source, tmp_path / "out.mp4", mark=MARK).has_watermark
    assert audio_packets(tmp_path / "out.mp4") == audio_packets(source) != []


@pytest.mark.parametrize("mark", [None, MARK])
def test_a_video_without_anything_to_remove_is_copied(
    clips: tuple[Path, Path], tmp_path: Path, mark: bytes | None
) -> None:
    report = restore_video(clips[0], tmp_path / "out.mp4", mark=mark)
    assert report == VideoReport(has_watermark=False, duration=1.0, frames=24)
    assert (tmp_path / "out.mp4").read_bytes() == clips[0].read_bytes()


def test_progress_increases_to_one(clips: tuple[Path, Path], tmp_path: Path) -> None:
    shares: list[float] = []
    restore_video(clips[1], tmp_path / "out.mp4", mark=MARK, progress=shares.append)
    assert shares == sorted(shares)
    assert len(shares) > 20
    assert shares[-1] == 1.0


def test_frames_of_odd_size_are_restored(tmp_path: Path) -> None:
    marked = sample_video(tmp_path / "odd.mp4", seconds=0.5, width=211, height=123, mark=sample_mark(width=120))
    assert restore_video(marked, tmp_path / "out.mp4", mark=sample_mark(width=120)).has_watermark
    assert probe(tmp_path / "out.mp4") == probe(marked)


def test_a_video_is_restored_in_a_spawned_process(clips: tuple[Path, Path], tmp_path: Path) -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        report = pool.submit(restore_video, clips[1], tmp_path / "out.mp4", mark=MARK).result(timeout=60)
    assert report == VideoReport(has_watermark=True, duration=1.0, frames=24)


@pytest.mark.parametrize(
    "data", [b"", b"hello, this is a text", sample_photo(64, 48), b"\0\0\0\x18ftypmp42" + bytes(200)]
)
def test_data_that_is_not_a_video_is_refused_with_a_sentence(data: bytes, tmp_path: Path) -> None:
    source = tmp_path / "file.txt"
    source.write_bytes(data)
    with pytest.raises(ValueError, match="video"):
        restore_video(source, tmp_path / "out.mp4", mark=MARK)
    assert not (tmp_path / "out.mp4").exists()


def test_a_mask_of_another_size_is_refused(clips: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"9x9.*320x240"):
        restore_video(clips[1], tmp_path / "out.mp4", mask=encode_as(np.zeros((9, 9), np.uint8), "png"))


def test_a_progress_callback_that_raises_leaves_no_incomplete_file(clips: tuple[Path, Path], tmp_path: Path) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore_video(clips[1], tmp_path / "out.mp4", mark=MARK, progress=interrupt)
    assert not (tmp_path / "out.mp4").exists()
