from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import av
import numpy as np
import pytest
from av.audio.frame import AudioFrame

from aiowatermark.emulator.pictures import sample_mark, sample_photo, stamp
from aiowatermark.emulator.restoration.pixels import Pixels, decode, encode_as
from aiowatermark.emulator.restoration.video.restore import VideoReport, probe, restore_video, sample_video

MARK = sample_mark(width=160)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same second of film, without and with the mark."""
    folder = tmp_path_factory.mktemp("clips")
    plain = sample_video(folder / "plain.mp4", seconds=1, seed=2)
    return plain, sample_video(folder / "marked.mp4", seconds=1, seed=2, mark=MARK)


def frames(path: Path) -> Iterator[tuple[float, Pixels]]:
    with av.open(path) as container:
        for frame in container.decode(video=0):
            yield frame.time or 0.0, frame.to_ndarray(format="bgr24")


def place(clips: tuple[Path, Path]) -> bytes:
    """The mask of where the clip's mark is."""
    return stamp(encode_as(next(frames(clips[0]))[1], "png"), MARK)[1]


def near(first: Path, second: Path, mask: bytes) -> float:
    """PSNR in dB under the mask, over all frames."""
    white = decode(mask) > 0
    pairs = zip(frames(first), frames(second), strict=True)
    errors = [np.mean((a[white].astype(float) - b[white]) ** 2) for (_, a), (_, b) in pairs]
    return float(10 * np.log10(255**2 / np.mean(errors)))


def with_sound(source: Path, target: Path) -> Path:
    """The video with a tone of a second."""
    with av.open(source) as old, av.open(target, "w") as new:
        picture = new.add_stream_from_template(old.streams.video[0])
        sound = new.add_stream("aac", rate=44100)
        sound.layout = "mono"
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream = picture
                new.mux(packet)
        wave = np.sin(np.arange(44100) / 16).astype(np.float32)[None]
        tone = AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
        tone.sample_rate = 44100
        new.mux(sound.encode(tone))
        new.mux(sound.encode(None))
    return target


def packets_of_sound(path: Path) -> list[bytes]:
    with av.open(path) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def test_a_known_mark_is_undone_in_every_frame(clips: tuple[Path, Path], tmp_path: Path) -> None:
    plain, marked = clips
    report = restore_video(marked, tmp_path / "out.mp4", mark=MARK)
    assert report == VideoReport(has_watermark=True, duration=1.0, frames=24)
    assert near(plain, marked, place(clips)) < 18
    assert near(plain, tmp_path / "out.mp4", place(clips)) > 32


def test_what_a_mask_covers_is_filled_in_every_frame(clips: tuple[Path, Path], tmp_path: Path) -> None:
    plain, marked = clips
    report = restore_video(marked, tmp_path / "out.mp4", mask=place(clips))
    assert report.has_watermark
    assert near(plain, tmp_path / "out.mp4", place(clips)) > near(plain, marked, place(clips)) + 6


def test_the_mark_under_the_mask_is_undone_rather_than_filled(clips: tuple[Path, Path], tmp_path: Path) -> None:
    restore_video(clips[1], tmp_path / "out.mp4", mask=place(clips), mark=MARK)
    assert near(clips[0], tmp_path / "out.mp4", place(clips)) > 32


def test_size_rate_and_times_stay_as_they_were(clips: tuple[Path, Path], tmp_path: Path) -> None:
    restore_video(clips[1], tmp_path / "out.mp4", mark=MARK)
    assert probe(tmp_path / "out.mp4") == probe(clips[1])
    times = [[time for time, _ in frames(path)] for path in (clips[1], tmp_path / "out.mp4")]
    assert times[1] == pytest.approx(times[0], abs=1e-3)


def test_the_sound_is_copied_as_it_is(clips: tuple[Path, Path], tmp_path: Path) -> None:
    source = with_sound(clips[1], tmp_path / "sound.mp4")
    assert restore_video(source, tmp_path / "out.mp4", mark=MARK).has_watermark
    assert packets_of_sound(tmp_path / "out.mp4") == packets_of_sound(source) != []


@pytest.mark.parametrize("mark", [None, MARK])
def test_where_nothing_is_to_be_removed_the_file_is_copied(
    clips: tuple[Path, Path], tmp_path: Path, mark: bytes | None
) -> None:
    report = restore_video(clips[0], tmp_path / "out.mp4", mark=mark)
    assert report == VideoReport(has_watermark=False, duration=1.0, frames=24)
    assert (tmp_path / "out.mp4").read_bytes() == clips[0].read_bytes()


def test_progress_grows_to_one(clips: tuple[Path, Path], tmp_path: Path) -> None:
    told: list[float] = []
    restore_video(clips[1], tmp_path / "out.mp4", mark=MARK, progress=told.append)
    assert told == sorted(told)
    assert len(told) > 20
    assert told[-1] == 1.0


def test_frames_of_odd_size_are_restored(tmp_path: Path) -> None:
    marked = sample_video(tmp_path / "odd.mp4", seconds=0.5, width=211, height=123, mark=sample_mark(width=120))
    assert restore_video(marked, tmp_path / "out.mp4", mark=sample_mark(width=120)).has_watermark
    assert probe(tmp_path / "out.mp4") == probe(marked)


def test_it_works_in_a_process_of_its_own(clips: tuple[Path, Path], tmp_path: Path) -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        report = pool.submit(restore_video, clips[1], tmp_path / "out.mp4", mark=MARK).result(timeout=60)
    assert report == VideoReport(has_watermark=True, duration=1.0, frames=24)


@pytest.mark.parametrize(
    "data", [b"", b"hello, I am no video", sample_photo(64, 48), b"\0\0\0\x18ftypmp42" + bytes(200)]
)
def test_what_is_no_video_is_refused_with_a_sentence(data: bytes, tmp_path: Path) -> None:
    source = tmp_path / "file.txt"
    source.write_bytes(data)
    with pytest.raises(ValueError, match="video"):
        restore_video(source, tmp_path / "out.mp4", mark=MARK)
    assert not (tmp_path / "out.mp4").exists()


def test_a_mask_of_another_size_is_refused(clips: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"9x9.*320x240"):
        restore_video(clips[1], tmp_path / "out.mp4", mask=encode_as(np.zeros((9, 9), np.uint8), "png"))


def test_a_listener_that_gives_up_leaves_no_half_written_file(clips: tuple[Path, Path], tmp_path: Path) -> None:
    def give_up(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore_video(clips[1], tmp_path / "out.mp4", mark=MARK, progress=give_up)
    assert not (tmp_path / "out.mp4").exists()
