"""Writing sound: lengths, tags, dither, chunks of WAV, and nothing half done under a final name."""

from __future__ import annotations

import errno
import io
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile

from engines.base import Cancelled
from engines.media import sound_write
from engines.media.provenance import from_file
from engines.media.sound_chunks import read_chunks
from engines.media.sound_facts import SoundFacts
from engines.media.sound_format import Depth, Form, SoundFormat, output_format
from engines.media.sound_quantise import Quantiser
from engines.media.sound_read import open_sound, read_facts
from engines.media.sound_write import SoundWriter
from tests.engines.media.make_sound import FullDisk, Wave, encoded, error_db, lag, sweep, write

TAGS = {
    "title": "Tïtle ☃",
    "artist": "Ärtist",
    "album": "Album",
    "date": "2024-05-06",
    "genre": "Speech",
    "tracknumber": "3",
    "comment": "said by hand",
    "copyright": "© me",
}
MADE = {"engine": "speech.storm", "version": "1", "text": 'a<b>&"c" é🌀' + "y" * 4000}
WAV16 = SoundFormat("WAV", "PCM_16")


def put(path: Path, wave: Wave, rate: int, form: SoundFormat, **more: Any) -> SoundWriter:
    with SoundWriter(path, form, rate, len(wave), wave.shape[1], **more) as writer:
        for start in range(0, wave.shape[1], 4999):
            writer.write(wave[:, start : start + 4999])
    return writer


def whole(path: Path) -> Wave:
    with open_sound(path) as reader:
        return np.concatenate(list(reader.blocks(6000)), axis=1)


def facts(rate: int, channels: int, samples: int = 100, **more: Any) -> SoundFacts:
    known: dict[str, Any] = {"container": "WAV", "subtype": "PCM_16", "bits": 16, **more}
    return SoundFacts("a.wav", rate, channels, samples, "libsndfile", **known)


@pytest.mark.parametrize("form", ["wav", "flac", "mp3", "ogg", "opus", "m4a"])
@pytest.mark.parametrize(
    ("rate", "channels"),
    [(8000, 1), (11_025, 2), (16_000, 1), (22_050, 1), (44_100, 2), (48_000, 6), (96_000, 2)],
)
def test_length_time_order_and_tags_through_every_container(
    form: Form, rate: int, channels: int, tmp_path: Path
) -> None:
    wave = sweep(rate, channels)
    chosen, notes = output_format(facts(rate, channels), form)
    path = tmp_path / f"a{chosen.suffix}"
    put(path, wave, rate, chosen, tags=TAGS, provenance=MADE)
    found = whole(path)
    assert found.shape == wave.shape
    measured = read_facts(path)
    assert measured.rate == rate
    for channel in range(channels):
        if channel != 3:  # encoders keep nothing but rumble in the low-frequency channel
            assert lag(found[channel], wave[channel]) == 0
            assert error_db(found[channel], wave[channel]) < -20
    for name, text in TAGS.items():
        if name == "copyright" and form == "m4a":
            continue
        start = measured.tags[name]
        assert start == text if name != "comment" else start.startswith(text)
    assert from_file(path) == MADE
    asked = {"wav": ".wav", "flac": ".flac", "mp3": ".mp3", "ogg": ".ogg", "opus": ".opus"}
    assert (chosen.suffix == asked.get(form, ".m4a")) == (not notes)
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("suffix", "subtype"),
    [
        ("wav", "PCM_U8"), ("wav", "PCM_16"), ("wav", "PCM_24"), ("wav", "PCM_32"),
        ("wav", "FLOAT"), ("wav", "DOUBLE"), ("wav", "ULAW"), ("w64", "PCM_24"), ("au", "PCM_16"),
        ("aiff", "PCM_24"), ("caf", "PCM_16"), ("flac", "PCM_16"), ("flac", "PCM_24"),
        ("ogg", "VORBIS"), ("ogg", "OPUS"), ("mp3", "MPEG_LAYER_III"),
    ],
)  # fmt: skip
def test_the_same_format_by_default(suffix: str, subtype: str, tmp_path: Path) -> None:
    source = write(tmp_path / f"a.{suffix}", sweep(48_000, 2), 48_000, subtype)
    known = read_facts(source)
    chosen, notes = output_format(known)
    assert notes == ()
    path = tmp_path / f"b{chosen.suffix}"
    original = whole(source)
    put(path, original, 48_000, chosen, like=known)
    made = read_facts(path)
    assert (made.container, made.subtype, made.bits) == (known.container, subtype, known.bits)
    if not known.lossy or subtype == "ULAW":
        np.testing.assert_array_equal(whole(path), original)  # untouched samples stay untouched


@pytest.mark.parametrize(
    ("suffix", "codec", "expected", "said"),
    [
        ("m4a", "aac", ("M4A", "AAC"), ""),
        ("m4a", "alac", ("FLAC", "PCM_24"), "read but not written"),
        ("mka", "flac", ("FLAC", "PCM_16"), ""),
        ("mka", "libopus", ("OGG", "OPUS"), ""),
        ("mka", "pcm_s24le", ("WAV", "PCM_24"), ""),
        ("mka", "pcm_f32le", ("WAV", "FLOAT"), ""),
        ("mka", "ac3", ("M4A", "AAC"), "the result is AAC in an M4A file"),
        ("wma", "wmav2", ("M4A", "AAC"), "the result is AAC in an M4A file"),
    ],
)
def test_what_ffmpeg_read_is_written_as_near_as_can_be(
    suffix: str, codec: str, expected: tuple[str, str], said: str, tmp_path: Path
) -> None:
    known = read_facts(encoded(tmp_path / f"a.{suffix}", sweep(48_000, 2), 48_000, codec))
    chosen, notes = output_format(known)
    assert (chosen.container, chosen.subtype) == expected
    assert bool(notes) == bool(said)
    assert said in "".join(notes)


@pytest.mark.parametrize(
    ("known", "form", "depth", "expected", "said"),
    [
        (facts(44_100, 1, subtype="FLOAT", bits=32, floating=True), "wav", "same", "FLOAT", ""),
        (facts(44_100, 1, subtype="FLOAT", bits=32, floating=True), "flac", "same", "PCM_24", ""),
        (facts(44_100, 1), "flac", "float", "PCM_24", "no floating-point numbers"),
        (facts(44_100, 1), "wav", "float", "FLOAT", ""),
        (facts(44_100, 1), "same", "24", "PCM_24", ""),
        (facts(44_100, 1), "mp3", "24", "MPEG_LAYER_III", ""),
        (facts(44_100, 2, bits=0, lossy=True), "wav", "same", "PCM_24", ""),
        (facts(44_100, 2), "opus", "same", "VORBIS", "Opus does not take 44.1 kHz"),
        (facts(44_100, 6), "mp3", "same", "PCM_16", "MP3 does not take 44.1 kHz with 6 channels"),
        (facts(44_100, 12), "flac", "same", "PCM_16", "FLAC does not take"),
        (facts(44_100, 2, 2**31, container="AIFF"), "same", "same", "PCM_16", "4 GB"),
        (facts(8000, 1, container="WAV", subtype="GSM610", bits=0, lossy=True), "same", "same",
         "PCM_16", "GSM610"),
    ],
)  # fmt: skip
def test_formats_that_were_chosen(
    known: SoundFacts, form: Form, depth: Depth, expected: str, said: str
) -> None:
    chosen, notes = output_format(known, form, depth)
    assert chosen.subtype == expected
    assert said in "".join(notes)
    assert bool(notes) == bool(said)


def test_dither_is_triangular_and_hides_the_signal(tmp_path: Path) -> None:
    """A sine of a third of a step would vanish; with dither it is there, and the rest is hiss."""
    step = 2.0**-15
    time = np.arange(400_000) / 8000
    wave = (step / 3 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)[None]
    put(tmp_path / "a.wav", wave, 8000, WAV16)
    error = (whole(tmp_path / "a.wav") - wave)[0].astype(np.float64) / step
    assert abs(error.mean()) < 0.01
    # A quarter of a step squared: 1/12 of rounding and 2/12 of the dither.
    assert error.var() == pytest.approx(0.25, rel=0.03)
    found = np.abs(np.fft.rfft(error)) / len(error) * 2
    assert found.max() < 0.02  # in steps; nothing of the sine is left in the error


def test_silence_and_whole_steps_get_no_dither() -> None:
    steps = np.arange(-32_768, 32_768, 7, dtype=np.float32)[:, None] / np.float32(32_768)
    quantise = Quantiser(16)
    np.testing.assert_array_equal(quantise(steps), np.rint(steps * 32_768).astype(np.int16))
    assert not quantise(np.zeros((1000, 2), np.float32)).any()


def test_dither_does_not_depend_on_blocks() -> None:
    wave = sweep(8000, 2).T
    at_once = Quantiser(16)(wave)
    parted = Quantiser(16)
    np.testing.assert_array_equal(
        np.concatenate([parted(wave[:1234]), parted(wave[1234:])]), at_once
    )


@pytest.mark.parametrize("bits", [16, 24])
def test_beyond_full_scale_is_limited_and_counted(bits: int, tmp_path: Path) -> None:
    wave = np.array([[0.5, 1.5, -2.0, 1.0, -1.0, 0.0]], np.float32)
    writer = put(tmp_path / "a.wav", wave, 8000, SoundFormat("WAV", f"PCM_{bits}"))
    assert (writer.peak, writer.over, writer.clipped) == (2.0, 2, 2)
    found = whole(tmp_path / "a.wav")[0]
    top = 1 - 2.0 ** (1 - bits)
    np.testing.assert_allclose(found, [0.5, top, -1, top, -1, 0], atol=0)
    writer = put(tmp_path / "b.wav", wave, 8000, SoundFormat("WAV", "FLOAT"))
    assert (writer.over, writer.clipped) == (2, 0)
    np.testing.assert_array_equal(whole(tmp_path / "b.wav"), wave)


def test_a_second_run_tells_of_itself_alone(tmp_path: Path) -> None:
    put(tmp_path / "a.flac", sweep(8000), 8000, SoundFormat("FLAC", "PCM_16"), tags=TAGS,
        provenance=MADE)  # fmt: skip
    known = read_facts(tmp_path / "a.flac")
    put(tmp_path / "b.wav", sweep(8000), 8000, WAV16, like=known, tags={"genre": ""},
        provenance={"engine": "again"})  # fmt: skip
    assert from_file(tmp_path / "b.wav") == {"engine": "again"}
    tags = read_facts(tmp_path / "b.wav").tags
    assert tags["comment"].startswith("said by hand\n")
    assert tags["comment"].count("noisestudio") == 2  # one element
    assert "genre" not in tags


def _with_chunks(path: Path, wave: Wave, chunks: list[tuple[bytes, bytes]]) -> Path:
    write(path, wave, 48_000, "PCM_16")
    content = path.read_bytes()
    for name, data in chunks:
        content += name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
    path.write_bytes(content[:4] + struct.pack("<I", len(content) - 8) + content[8:])
    return path


def test_broadcast_chunks_and_cue_points_are_kept(tmp_path: Path) -> None:
    bext = bytearray(602)
    bext[:5] = b"Scene"
    struct.pack_into("<QH", bext, 338, 1000, 2)
    struct.pack_into("<5h", bext, 412, -2300, 500, -100, -2000, -2100)
    cue = struct.pack("<IIIIIII", 1, 1, 500, 0x61746164, 0, 0, 500)
    chunks = [
        (b"bext", bytes(bext) + b"A=PCM,F=48000\r\n"),
        (b"iXML", b"<BWFXML><SCENE>1</SCENE></BWFXML>"),
        (b"cue ", cue),
        (b"LIST", b"adtllabl" + struct.pack("<II", 6, 1) + b"A\0"),
        (b"LIST", b"INFOINAM" + struct.pack("<I", 4) + b"Old\0"),
    ]
    source = _with_chunks(tmp_path / "a.wav", sweep(48_000), chunks)
    known = read_facts(source)
    assert known.tags["title"] == "Old"
    put(tmp_path / "b.wav", sweep(48_000), 48_000, WAV16, like=known)
    made = dict(read_chunks(tmp_path / "b.wav").kept)
    assert made[b"iXML"] == chunks[1][1]
    assert made[b"cue "] == cue
    assert made[b"LIST"] == chunks[3][1]
    assert made[b"bext"][:338] == chunks[0][1][:338]
    assert struct.unpack_from("<Q", made[b"bext"], 338) == (1000,)
    assert struct.unpack_from("<5h", made[b"bext"], 412) == (0x7FFF,) * 5  # it is another loudness
    history = made[b"bext"][602:].decode()
    assert history == "A=PCM,F=48000\r\nA=PCM,F=48000,W=16,M=mono,T=Noise Studio\r\n"
    assert read_facts(tmp_path / "b.wav").tags["title"] == "Old"
    part = sweep(48_000)[:, 300:1000]
    put(tmp_path / "c.wav", part, 48_000, WAV16, like=known, start=300)
    made = dict(read_chunks(tmp_path / "c.wav").kept)
    assert struct.unpack_from("<Q", made[b"bext"], 338) == (1300,)
    assert set(made) == {b"bext", b"iXML"}  # cue points would point beside
    np.testing.assert_allclose(whole(tmp_path / "c.wav"), part, atol=1e-4)


def test_a_channel_mask_is_kept(tmp_path: Path) -> None:
    put(tmp_path / "a.wav", sweep(8000, 4), 8000, WAV16, like=facts(8000, 4, channel_mask=0x107))
    assert read_chunks(tmp_path / "a.wav").channel_mask == 0x107
    put(tmp_path / "b.wav", sweep(8000, 6), 8000, WAV16)
    assert read_facts(tmp_path / "b.wav").layout == "5.1"


def test_a_large_wav_is_written_as_rf64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sound_write, "RIFF_LIMIT", 10_000)
    wave = sweep(8000, 2)
    put(tmp_path / "a.wav", wave, 8000, WAV16, tags=TAGS, provenance=MADE)
    content = (tmp_path / "a.wav").read_bytes()
    assert content[:4] == b"RF64"
    assert struct.unpack_from("<Q", content, 20) == (len(content) - 8,)
    np.testing.assert_allclose(whole(tmp_path / "a.wav"), wave, atol=1e-4)
    assert read_facts(tmp_path / "a.wav").tags["title"] == TAGS["title"]
    assert from_file(tmp_path / "a.wav") == MADE


def test_riff_sizes_are_right(tmp_path: Path) -> None:
    put(tmp_path / "a.wav", sweep(8000)[:, :81], 8000, SoundFormat("WAV", "PCM_U8"), tags=TAGS)
    content = (tmp_path / "a.wav").read_bytes()
    assert struct.unpack_from("<I", content, 4) == (len(content) - 8,)
    assert len(content) % 2 == 0


@pytest.mark.parametrize("buffer", [1000, 1 << 18])
@pytest.mark.parametrize("form", ["wav", "flac", "mp3", "ogg", "m4a"])
def test_a_full_disk_leaves_nothing(
    form: Form,
    buffer: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    chosen, _ = output_format(facts(44_100, 2), form)
    path = tmp_path / f"a{chosen.suffix}"
    path.write_text("what was there before")

    def opened(self: Path, *_: Any, **__: Any) -> io.BufferedRandom:
        return io.BufferedRandom(FullDisk(self, "w+b"), buffer)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", opened)
        with pytest.raises(OSError, match="No space left") as caught:
            put(path, sweep(44_100, 2), 44_100, chosen)
    assert caught.value.errno == errno.ENOSPC
    assert path.read_text() == "what was there before"
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("form", ["wav", "mp3", "m4a"])
def test_a_cancelled_sound_is_removed(form: Form, tmp_path: Path) -> None:
    chosen, _ = output_format(facts(44_100, 2), form)

    def cancelled() -> None:
        with SoundWriter(tmp_path / f"a.{form}", chosen, 44_100, 2, 44_137) as writer:
            writer.write(sweep(44_100, 2)[:, :9000])
            assert list(tmp_path.iterdir())
            raise Cancelled

    with pytest.raises(Cancelled):
        cancelled()
    assert not list(tmp_path.iterdir())


def test_another_length_than_announced_is_an_error(tmp_path: Path) -> None:
    writer = SoundWriter(tmp_path / "a.wav", WAV16, 8000, 1, 100)
    writer.write(sweep(8000)[:, :99])
    with pytest.raises(ValueError, match="99 samples written, 100 announced"):
        writer.close()
    assert not list(tmp_path.iterdir())
    writer.close()  # is over


def test_no_sample_at_all(tmp_path: Path) -> None:
    SoundWriter(tmp_path / "a.wav", WAV16, 8000, 1, 0).close()
    assert soundfile.info(tmp_path / "a.wav").frames == 0


def test_an_mp3_is_as_loud_as_its_source(tmp_path: Path) -> None:
    wave = sweep(16_000)
    put(tmp_path / "a.mp3", wave, 16_000, SoundFormat("MP3", "MPEG_LAYER_III"))
    found = whole(tmp_path / "a.mp3")
    assert float((found * wave).sum() / (wave * wave).sum()) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_other_players_find_the_channels_of_ogg_in_their_places(
    subtype: str, tmp_path: Path
) -> None:
    time = np.arange(48_000) / 48_000
    tones = [300, 400, 500, 60, 700, 800]
    wave = np.stack([0.3 * np.sin(2 * np.pi * tone * time) for tone in tones]).astype(np.float32)
    put(tmp_path / "a.ogg", wave, 48_000, SoundFormat("OGG", subtype))
    with av.open(tmp_path / "a.ogg") as file:
        assert file.streams.audio[0].layout.name == "5.1"
        found = np.concatenate([frame.to_ndarray() for frame in file.decode(audio=0)], axis=1)
    loudest = np.abs(np.fft.rfft(found[:, :48_000], axis=1)).argmax(axis=1)
    assert loudest.tolist() == tones


def test_ten_minutes_are_written_in_the_memory_of_seconds(tmp_path: Path) -> None:
    block = sweep(8000)[:, :8000]
    tracemalloc.start()
    try:
        with SoundWriter(tmp_path / "a.wav", WAV16, 8000, 1, 600 * 8000) as writer:
            for _ in range(600):
                writer.write(block)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000
    assert read_facts(tmp_path / "a.wav").seconds == 600
