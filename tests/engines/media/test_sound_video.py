"""Another sound beside a picture: the picture is the same to the byte and stays in step."""

from __future__ import annotations

import errno
import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition
from PIL import Image

from engines.base import Cancelled, UserError
from engines.media.provenance import from_file
from engines.media.sound_read import open_sound, read_facts
from engines.media.sound_video import replace_sound, video_suffix
from tests.engines.media.make_sound import FullDisk, Wave, error_db, lag, sweep, video, write


def picture(path: Path) -> tuple[list[bytes], list[float]]:
    """Packets of the picture, and their times from its start."""
    with av.open(path) as file:
        stream = file.streams.video[0]
        packets = [packet for packet in file.demux(stream) if packet.size]
        times = [float((packet.pts or 0) * (stream.time_base or 0)) for packet in packets]
        return [bytes(packet) for packet in packets], [time - min(times) for time in times]


def offset(path: Path) -> float:
    """Seconds by which the sound begins after the picture."""
    with av.open(path) as file:
        stream = file.streams.video[0]
        begin = float((stream.start_time or 0) * (stream.time_base or 0))
    return read_facts(path).start - begin


def sound(path: Path) -> Wave:
    with open_sound(path) as reader:
        return np.concatenate(list(reader.blocks(6000)), axis=1)


def replaced(source: Path, out: Path) -> tuple[Wave, tuple[str, ...]]:
    """Give `source` its own sound upside down; returns that and the notes."""
    wave = -sound(source)
    rate = read_facts(source).rate
    new = write(out.parent / "new.wav", wave, rate, "FLOAT")
    return wave, replace_sound(source, new, out, provenance={"engine": "speech.storm"})


@pytest.mark.parametrize(
    ("suffix", "codec", "rate", "channels", "delay", "frame"),
    [
        ("mp4", "aac", 48_000, 2, 0.0, 0),
        ("mp4", "aac", 44_100, 1, 0.37, 1024),
        ("mp4", "alac", 44_100, 2, 0.0, 0),
        ("mov", "pcm_s16le", 44_100, 2, 0.0, 0),
        ("mkv", "aac", 48_000, 6, 0.2, 1024),
        ("mkv", "flac", 96_000, 2, 0.0, 0),
        ("mkv", "libmp3lame", 44_100, 2, 0.0, 0),
        ("mkv", "libopus", 48_000, 2, 0.1, 0),
        ("mkv", "ac3", 48_000, 2, 0.0, 1536),
        ("avi", "libmp3lame", 44_100, 2, 0.0, 2304),
        ("ts", "aac", 48_000, 2, 0.1, 2048),
    ],
)
def test_the_picture_is_copied_and_the_sound_is_in_step(
    suffix: str, codec: str, rate: int, channels: int, delay: float, frame: int, tmp_path: Path
) -> None:
    source = video(tmp_path / f"a.{suffix}", sweep(rate, channels), rate, codec, delay=delay)
    before = source.read_bytes()
    out = tmp_path / f"b{video_suffix(source)}"
    assert out.suffix == source.suffix
    wave, notes = replaced(source, out)
    assert notes == ()
    assert source.read_bytes() == before
    images, times = picture(out)
    expected, expected_times = picture(source)
    assert images == expected
    np.testing.assert_allclose(times, expected_times, atol=0.001)
    old, new = read_facts(source), read_facts(out)
    assert (new.codec, new.rate, new.channels) == (old.codec, rate, channels)
    assert new.has_video
    found = sound(out)
    assert 0 <= found.shape[1] - wave.shape[1] <= frame  # an encoder fills its last block
    late = lag(found[0], wave[0]) / rate
    assert late + offset(out) == pytest.approx(offset(source), abs=0.002)
    start = lag(found[0], wave[0])
    shared = min(found.shape[1] - start, wave.shape[1])
    assert error_db(found[0, start : start + shared], wave[0, :shared]) < -15
    if suffix != "ts":
        assert new.tags["title"] == "Holiday"
        assert from_file(out) == {"engine": "speech.storm"}
    with av.open(out) as file:
        languages = {stream.metadata.get("language") for stream in file.streams.audio}
    assert suffix == "avi" or languages == {"fra"}
    assert {one.name for one in tmp_path.iterdir()} == {source.name, out.name, "new.wav"}


def test_webm_keeps_opus(tmp_path: Path) -> None:
    wave = sweep(48_000, 2)
    source = video(tmp_path / "a.webm", wave, 48_000, "libopus", picture="libvpx")
    _, notes = replaced(source, tmp_path / "b.webm")
    assert notes == ()
    assert read_facts(tmp_path / "b.webm").codec == "opus"
    assert picture(tmp_path / "b.webm")[0] == picture(source)[0]


def test_a_rare_container_becomes_mkv_and_a_rare_codec_is_told(tmp_path: Path) -> None:
    source = video(tmp_path / "a.wmv", sweep(44_100, 2), 44_100, "adpcm_ms")
    assert video_suffix(source) == ".mkv"
    _, notes = replaced(source, tmp_path / "b.mkv")
    assert notes == ("The sound of the video was adpcm ms; the new one is aac",)
    assert picture(tmp_path / "b.mkv")[0] == picture(source)[0]


def test_rotation_subtitles_chapters_and_other_tracks_are_kept(tmp_path: Path) -> None:
    first = video(tmp_path / "a.mp4", sweep(48_000, 2), 48_000, "aac")
    content = bytearray(first.read_bytes())
    matrix = content.find(b"tkhd") + 44  # of the first track, the picture
    turned = (0, 0x10000, 0, -0x10000, 0, 0, 48 << 16, 0, 0x40000000)
    content[matrix : matrix + 36] = b"".join(v.to_bytes(4, "big", signed=True) for v in turned)
    first.write_bytes(content)
    (tmp_path / "a.srt").write_text("1\n00:00:00,200 --> 00:00:00,900\nHello\n")
    source = tmp_path / "b.mkv"
    chapters = [
        {"id": 1, "start": 0, "end": 500, "time_base": Fraction(1, 1000),
         "metadata": {"title": "One"}},
    ]  # fmt: skip
    with (
        av.open(first) as film,
        av.open(tmp_path / "a.srt") as words,
        av.open(source, "w") as made,
    ):
        copies = {id(one): made.add_stream_from_template(one) for one in film.streams}
        second = made.add_stream_from_template(film.streams.audio[0])
        copies[id(words.streams[0])] = made.add_stream_from_template(words.streams[0])
        made.set_chapters(chapters)  # pyright: ignore[reportArgumentType]
        for origin in (film, words):
            for packet in origin.demux():
                if packet.dts is None:
                    continue
                copy = av.Packet(bytes(packet))
                copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
                packet_stream = packet.stream
                packet.stream = copies[id(packet_stream)]
                made.mux(packet)
                if packet_stream.type == "audio":
                    copy.stream = second
                    made.mux(copy)
    _, notes = replaced(source, tmp_path / "c.mkv")
    assert notes == ()
    with av.open(tmp_path / "c.mkv") as file:
        kinds = sorted(stream.type for stream in file.streams)
        assert kinds == ["audio", "audio", "subtitle", "video"]
        assert [chapter["metadata"] for chapter in file.chapters()] == [{"title": "One"}]
        [text] = [bytes(one) for one in file.demux(file.streams.subtitles[0]) if one.size]
        assert text == b"Hello"
    with av.open(tmp_path / "c.mkv") as file:
        assert next(file.decode(video=0)).rotation in (90, -90)
    replaced(first, tmp_path / "d.mp4")
    content = (tmp_path / "d.mp4").read_bytes()
    matrix = content.find(b"tkhd") + 44
    assert int.from_bytes(content[matrix + 4 : matrix + 8], "big") == 0x10000


def test_a_cancelled_video_leaves_nothing(tmp_path: Path) -> None:
    source = video(tmp_path / "a.mp4", sweep(48_000, 2, 2.0), 48_000, "aac")
    new = write(tmp_path / "new.wav", sweep(48_000, 2, 2.0), 48_000, "FLOAT")
    shares: list[float] = []

    def check() -> None:
        if shares and shares[-1] > 0.3:
            raise Cancelled

    with pytest.raises(Cancelled):
        replace_sound(source, new, tmp_path / "b.mp4", check=check, progress=shares.append)
    assert shares == sorted(shares)
    assert {one.name for one in tmp_path.iterdir()} == {"a.mp4", "new.wav"}


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("buffer", [500, 1 << 20])
def test_a_full_disk_leaves_nothing(
    suffix: str, buffer: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = video(tmp_path / f"a.{suffix}", sweep(48_000, 2), 48_000, "aac")
    new = write(tmp_path / "new.wav", sweep(48_000, 2), 48_000, "FLOAT")
    usual = Path.open

    def opened(self: Path, *rest: Any, **more: Any) -> Any:
        if self.suffix != ".partial":
            return usual(self, *rest, **more)
        return io.BufferedRandom(FullDisk(self, "w+b"), buffer)

    monkeypatch.setattr(Path, "open", opened)
    with pytest.raises(OSError, match="No space left") as caught:
        replace_sound(source, new, tmp_path / f"b.{suffix}")
    assert caught.value.errno == errno.ENOSPC
    assert {one.name for one in tmp_path.iterdir()} == {f"a.{suffix}", "new.wav"}


def test_a_picture_that_the_container_does_not_take_is_one_sentence(tmp_path: Path) -> None:
    source = video(tmp_path / "a.mkv", sweep(48_000, 2), 48_000, "aac")
    source = source.rename(tmp_path / "a.webm")  # WebM takes no MPEG-4 picture
    new = write(tmp_path / "new.wav", sweep(48_000, 2), 48_000, "FLOAT")
    with pytest.raises(UserError, match=r"beside the picture of a\.webm; use the sound file"):
        replace_sound(source, new, tmp_path / "b.webm")
    assert {one.name for one in tmp_path.iterdir()} == {"a.webm", "new.wav"}


def test_a_cover_is_no_video(tmp_path: Path) -> None:
    held = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(held, "JPEG")
    with av.open(tmp_path / "a.m4a", "w", format="mp4") as made:
        tones = made.add_stream("aac", rate=44_100, layout="mono")
        cover = made.add_stream("mjpeg")
        cover.width = cover.height = 8
        cover.pix_fmt = "yuvj420p"
        cover.disposition = Disposition.attached_pic
        packet = av.Packet(held.getvalue())
        packet.stream = cover
        packet.pts = packet.dts = 0
        packet.time_base = Fraction(1, 25)
        made.mux(packet)
        frame = av.AudioFrame.from_ndarray(sweep(44_100), "fltp", "mono")
        frame.sample_rate = 44_100
        made.mux(tones.encode(frame))
        made.mux(tones.encode(None))
    facts = read_facts(tmp_path / "a.m4a")
    assert not facts.has_video
    assert facts.codec == "aac"
