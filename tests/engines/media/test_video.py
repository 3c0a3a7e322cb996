"""Films are read frame by frame, and written with everything but the picture as it was."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from engines.base import UserError
from engines.media.provenance import from_file
from engines.media.video_facts import read_video_facts
from engines.media.video_read import VideoReader
from engines.media.video_write import VideoWriter, film_suffix
from tests.engines.media.make_film import film, moving, pictures, sound_packets, times

MADE = {"engine": "superres.test", "params": {"scale": 2}}


def twice(source: Path, out: Path, start: float = 0.0, length: float | None = None) -> list[str]:
    """Every pixel becomes four."""
    with VideoReader(source, start, length) as reader:
        size = (reader.facts.height * 2, reader.facts.width * 2)
        with VideoWriter(out, source, reader, size, 95, MADE) as writer:
            for frame in reader:
                writer.write(frame.pixels.repeat(2, 0).repeat(2, 1), frame.pts, frame.duration)
            writer.close()
            return [*reader.notes, *writer.notes]


def test_frames_come_back_and_times_and_sound_stay(tmp_path: Path) -> None:
    frames = moving(12)
    uneven = [0, 3, 4, 9, 10, 11, 15, 16, 30, 31, 33, 40]
    source = film(tmp_path / "a.mp4", frames, times=uneven, time_base=Fraction(1, 50), sound="aac")
    before = hashlib.sha256(source.read_bytes()).digest()
    out = tmp_path / f"b{film_suffix(source)}"
    assert twice(source, out) == []
    assert hashlib.sha256(source.read_bytes()).digest() == before
    assert times(out) == pytest.approx(times(source), abs=1e-4)
    found = pictures(out)
    assert len(found) == 12
    for one, wanted in zip(found, frames, strict=True):
        assert one.shape == (96, 128, 3)
        assert np.abs(one[::2, ::2].astype(int) - wanted).mean() < 4.0
    ours, theirs = sound_packets(out), sound_packets(source)
    assert [body for _, body in ours] == [body for _, body in theirs]
    assert [at for at, _ in ours] == pytest.approx([at for at, _ in theirs], abs=1e-3)
    with av.open(out) as opened:
        assert opened.metadata["title"] == "Holiday"
        assert opened.streams.audio[0].metadata["language"] == "fra"
        assert opened.streams.video[0].codec_context.name == "h264"
    assert from_file(out) == MADE
    assert {path.name for path in tmp_path.iterdir()} == {"a.mp4", "b.mp4"}


@pytest.mark.parametrize("matrix", [1, 6, 9])
@pytest.mark.parametrize("reach", [1, 2])
def test_colours_keep_their_numbers_and_their_tags(tmp_path: Path, matrix: int, reach: int) -> None:
    patches = np.zeros((3, 32, 48, 3), np.uint8)
    patches[:, :, :16], patches[:, :, 16:32] = (200, 40, 60), (30, 160, 90)
    patches[:, :, 32:] = (60, 70, 220)
    colours = (matrix, 1, 13, reach)
    source = film(tmp_path / "a.mp4", patches, colours=colours)
    facts = read_video_facts(source).colours
    assert (facts.matrix, facts.primaries, facts.transfer, facts.range) == colours
    out = tmp_path / "b.mp4"
    twice(source, out)
    assert read_video_facts(out).colours == facts
    for path, step in ((source, 1), (out, 2)):
        with VideoReader(path) as reader:
            found = next(iter(reader)).pixels
        for column in (8, 24, 40):
            wanted = patches[0, 16, column].astype(int)
            assert np.abs(found[16 * step, column * step] - wanted).max() <= 4


def test_a_film_without_tags_is_told_by_its_size(tmp_path: Path) -> None:
    small = film(tmp_path / "a.mp4", moving(2))
    large = film(tmp_path / "b.mp4", moving(2, 640, 720))
    assert read_video_facts(small).colours.matrix == 6
    assert read_video_facts(large).colours.matrix == 1


def test_rotation_and_shape_of_pixels_stay(tmp_path: Path) -> None:
    source = film(tmp_path / "a.mp4", moving(4), turned=90, shape=Fraction(4, 3))
    facts = read_video_facts(source)
    assert facts.shown == (64, 48)
    out = tmp_path / "b.mp4"
    twice(source, out)
    ours = read_video_facts(out)
    assert (ours.turned, ours.shape) == (facts.turned, facts.shape)
    assert ours.shown == (128, 96)
    with av.open(source) as one, av.open(out) as other:
        angles = [next(each.decode(video=0)).rotation for each in (one, other)]
    assert angles[0] == angles[1] != 0


def test_ten_bits_stay_ten_bits(tmp_path: Path) -> None:
    source = film(tmp_path / "a.mp4", moving(3), pix_fmt="yuv420p10le")
    with VideoReader(source) as reader:
        assert (reader.facts.bits, next(iter(reader)).pixels.dtype) == (10, np.uint16)
    out = tmp_path / "b.mp4"
    assert twice(source, out) == []
    assert read_video_facts(out).bits == 10


def test_a_sound_that_an_mp4_cannot_hold_makes_a_matroska_film(tmp_path: Path) -> None:
    source = film(tmp_path / "a.mkv", moving(10), sound="pcm_s16le")
    assert film_suffix(source) == ".mkv"
    out = tmp_path / "b.mkv"
    twice(source, out)
    assert [body for _, body in sound_packets(out)] == [body for _, body in sound_packets(source)]
    assert from_file(out) == MADE


def test_a_part_begins_at_nought(tmp_path: Path) -> None:
    frames = moving(75)
    source = film(tmp_path / "a.mp4", frames, sound="aac", options={"g": "10", "crf": "10"})
    out = tmp_path / "b.mp4"
    twice(source, out, start=1.0, length=1.0)
    found = pictures(out)
    assert len(found) == 25
    assert times(out)[0] == pytest.approx(0.0, abs=0.01)
    assert np.abs(found[0][::2, ::2].astype(int) - frames[25]).mean() < 4.0
    assert np.abs(found[-1][::2, ::2].astype(int) - frames[49]).mean() < 4.0
    sound = [at for at, _ in sound_packets(out)]
    assert sound[0] < 0.05
    assert 0.9 < sound[-1] < 1.1


def test_a_broadcast_that_was_cut_out_begins_at_nought_in_step(tmp_path: Path) -> None:
    source = film(tmp_path / "a.ts", moving(20), sound="aac")
    out = tmp_path / "b.mp4"
    twice(source, out)
    gap = times(source)[0] - sound_packets(source)[0][0]
    assert times(out)[0] < 0.2
    assert times(out)[0] - sound_packets(out)[0][0] == pytest.approx(gap, abs=0.005)


def test_the_end_of_a_damaged_film_is_left_out(tmp_path: Path) -> None:
    source = film(tmp_path / "a.ts", moving(60))
    whole = source.read_bytes()
    source.write_bytes(whole[: len(whole) // 2])
    out = tmp_path / "b.mp4"
    twice(source, out)
    assert 10 < len(pictures(out)) < 60


@pytest.mark.parametrize("kind", ["empty", "text", "half", "sound", "missing", "folder"])
def test_what_is_no_film_gets_a_sentence(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "film.mp4"
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("words " * 100)
    elif kind == "half":
        whole = film(path, moving(20)).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "sound":
        with av.open(path, "w") as made:
            from tests.engines.media.make_film import _sound, _tone

            _tone(made, _sound(made, "aac"), 0.5)
    elif kind == "folder":
        path.mkdir()
    with pytest.raises(UserError, match=r"film\.mp4"):
        read_video_facts(path)


def test_nothing_is_left_where_writing_ends_early(tmp_path: Path) -> None:
    source = film(tmp_path / "a.mp4", moving(4))
    out = tmp_path / "b.mp4"
    with (
        VideoReader(source) as reader,
        VideoWriter(out, source, reader, (96, 128), 80, MADE) as writer,
    ):
        for frame in reader:
            writer.write(frame.pixels.repeat(2, 0).repeat(2, 1), frame.pts, frame.duration)
    assert {path.name for path in tmp_path.iterdir()} == {"a.mp4"}
