"""Reading sound: any container in blocks, exact lengths, one sentence for what is no sound."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from engines.base import UserError
from engines.media.sound_facts import SOUND_SUFFIXES, VIDEO_SUFFIXES
from engines.media.sound_read import SoundReader, open_sound, read_facts
from tests.engines.media.make_sound import Wave, encoded, error_db, lag, sweep, wav_header, write

EXPECTED = {"aac": -20, "alac": -80, "flac": -80, "wavpack": -30, "tta": -30}  # dB; 8 bits each


def whole(path: Path, size: int = 5000) -> tuple[Wave, SoundReader]:
    with open_sound(path) as reader:
        return np.concatenate(list(reader.blocks(size)), axis=1), reader


@pytest.mark.parametrize(
    ("suffix", "subtype", "bits"),
    [
        ("wav", "PCM_U8", 8), ("wav", "PCM_16", 16), ("wav", "PCM_24", 24), ("wav", "PCM_32", 32),
        ("wav", "FLOAT", 32), ("wav", "DOUBLE", 64), ("w64", "PCM_24", 24), ("rf64", "PCM_16", 16),
        ("flac", "PCM_16", 16), ("flac", "PCM_24", 24), ("aiff", "PCM_24", 24),
        ("au", "PCM_16", 16), ("caf", "PCM_16", 16), ("ogg", "VORBIS", 0), ("ogg", "OPUS", 0),
        ("mp3", "MPEG_LAYER_III", 0), ("wav", "ULAW", 0), ("wav", "MS_ADPCM", 0),
    ],
)  # fmt: skip
def test_what_libsndfile_reads(suffix: str, subtype: str, bits: int, tmp_path: Path) -> None:
    wave = sweep(48_000, 2)
    path = write(tmp_path / f"a.{suffix}", wave, 48_000, subtype)
    found, reader = whole(path)
    facts = reader.facts
    if subtype != "MS_ADPCM":  # it stores whole blocks
        assert found.shape == wave.shape
        assert facts.samples == reader.length == wave.shape[1]
    assert found.dtype == np.float32
    assert (facts.rate, facts.channels, facts.bits, facts.reader) == (48_000, 2, bits, "libsndfile")
    assert facts.lossy == (bits == 0)
    assert facts.layout == "stereo"
    assert not facts.has_video
    assert lag(found[1], wave[1]) == 0
    assert error_db(found[:, : wave.shape[1]], wave) < -20
    assert reader.notes == ()


@pytest.mark.parametrize(
    ("suffix", "codec", "exact", "rate"),
    [
        ("m4a", "aac", True, 8000), ("m4a", "aac", True, 11_025), ("m4a", "aac", True, 22_050),
        ("m4a", "aac", True, 44_100), ("m4a", "aac", True, 96_000), ("m4a", "alac", True, 44_100),
        ("mka", "flac", True, 96_000), ("mka", "aac", False, 44_100),
        ("wma", "wmav2", False, 44_100), ("wv", "wavpack", True, 11_025),
        ("tta", "tta", True, 8000),
    ],
)  # fmt: skip
def test_what_ffmpeg_reads(suffix: str, codec: str, exact: bool, rate: int, tmp_path: Path) -> None:
    wave = sweep(rate, 2)
    found, reader = whole(encoded(tmp_path / f"a.{suffix}", wave, rate, codec))
    assert reader.facts.reader == "ffmpeg"
    assert (reader.facts.rate, reader.facts.channels) == (rate, 2)
    assert reader.length == found.shape[1]
    if exact:
        # An edit list that was written in milliseconds is that exact.
        assert abs(found.shape[1] - wave.shape[1]) <= (rate / 1000 if codec == "aac" else 0)
    if codec != "wmav2":
        assert lag(found[0], wave[0]) == 0
        shared = min(found.shape[1], wave.shape[1])
        assert error_db(found[:, :shared], wave[:, :shared]) < EXPECTED[codec]
    assert reader.facts.lossy == (codec in ("aac", "wmav2"))


def test_a_raw_stream_is_known_by_its_suffix(tmp_path: Path) -> None:
    wave = sweep(16_000, 1)
    found, reader = whole(encoded(tmp_path / "a.g722", wave, 16_000, "g722"))
    assert reader.facts.codec == "g722"
    assert abs(found.shape[1] - wave.shape[1]) <= 2
    assert error_db(np.roll(found[0], -lag(found[0], wave[0]))[:9000], wave[0, :9000]) < -15


def test_blocks_are_the_whole_at_any_size(tmp_path: Path) -> None:
    for path in (
        write(tmp_path / "a.mp3", sweep(22_050, 2), 22_050, "MPEG_LAYER_III"),
        encoded(tmp_path / "a.m4a", sweep(22_050, 2), 22_050, "aac"),
    ):
        at_once, _ = whole(path, 1 << 20)
        for size in (1000, 1024, 7919):
            with open_sound(path) as reader:
                sizes = [block.shape[1] for block in reader.blocks(size)]
            assert set(sizes[:-1]) <= {size}
            np.testing.assert_array_equal(whole(path, size)[0], at_once)


@pytest.mark.parametrize("suffix", ["wav", "mp3", "ogg", "flac", "m4a"])
def test_seeking_is_exact(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    if suffix == "m4a":
        encoded(path, sweep(44_100, 2, 2.0), 44_100, "aac")
    else:
        soundfile.write(path, sweep(44_100, 2, 2.0).T, 44_100)
    expected, _ = whole(path)
    with open_sound(path) as reader:
        for sample in (50_001, 33, 70_000, 0, 87_000):
            reader.seek(sample)
            assert reader.position == sample
            np.testing.assert_array_equal(reader.read(900), expected[:, sample : sample + 900])
        reader.seek(10**7)
        assert reader.read(10).shape == (2, 0)


def test_channels_of_ogg_come_in_the_order_of_wav(tmp_path: Path) -> None:
    """Left, right, centre, low frequencies, back left, back right; Vorbis stores another order."""
    time = np.arange(48_000) / 48_000
    tones = (300, 400, 500, 60, 700, 800)
    stored = [300, 500, 400, 700, 800, 60]
    wave = np.stack([0.3 * np.sin(2 * np.pi * tone * time) for tone in stored])
    for subtype in ("VORBIS", "OPUS"):
        path = write(tmp_path / "a.ogg", wave.astype(np.float32), 48_000, subtype)
        found, _ = whole(path)
        loudest = np.abs(np.fft.rfft(found, axis=1)).argmax(axis=1)
        assert loudest.tolist() == list(tones)


def test_silence_offset_clipping_and_ten_milliseconds_come_as_they_are(tmp_path: Path) -> None:
    clipped = np.clip(3 * sweep(8000), -1, 1)
    for name, wave in {
        "silence": np.zeros((1, 8000), np.float32),
        "offset": np.full((2, 8000), 0.25, np.float32),
        "short": sweep(8000)[:, :80],
        "one": np.full((1, 1), 0.5, np.float32),
        "clipped": clipped,
        "over": 4 * sweep(8000),
    }.items():
        path = write(tmp_path / f"{name}.wav", wave, 8000, "FLOAT")
        np.testing.assert_array_equal(whole(path)[0], wave)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_refused_with_its_place(wrong: float, tmp_path: Path) -> None:
    wave = sweep(8000, 2)
    wave[1, 6000] = wrong
    path = write(tmp_path / "a.wav", wave, 8000, "FLOAT")
    with pytest.raises(UserError, match=r"a\.wav .* at 0\.750 s \(sample 6000, channel 2\)"):
        whole(path)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.wav", b"Dear diary,\nnothing was heard today.\n" * 30, "is text, not sound"),
        ("a.mp3", "Größe, mètre, 長さ\n".encode() * 400, "is text, not sound"),
        ("a.wav", b"", "is empty"),
        ("a.wav", bytes(5000), "no sound or video file"),
        ("a.wav", b"\x89PNG\r\n\x1a\n" + bytes(50), "is a PNG picture"),
        ("a.mp3", b"PK\x03\x04" + bytes(50), "is a zip archive"),
        ("a.mid", b"MThd" + bytes(50), "MIDI"),
        ("a.wav", b"RIFF\0\0\0\0WAVE", "damaged"),
        ("a.wav", wav_header(0, 8000, data=bytes(2000)), "no sound in it"),
        ("a.wav", wav_header(1, 0, data=bytes(2000)), "damaged"),
        ("a.wav", wav_header(500, 8000, size=200_000, data=bytes(200_000)), "500 channels"),
        ("a.wav", wav_header(1, 2**31 - 1, data=bytes(2000)), "2147483647 samples a second"),
        ("a.wav", wav_header(1, 8000, size=0), "holds no sound"),
        ("a.flac", b"fLaC" + bytes(200), "damaged"),
        ("a.ogg", b"OggS" + bytes(200), "damaged"),
        ("a.mp4", b"\0\0\0\x18ftypmp42" + bytes(200), "no sound or video file"),
        ("a.m3u8", b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n", "is text"),
        ("a.wav", b"ffconcat version 1.0\nfile /etc/passwd\n", "is text"),
    ],
)  # fmt: skip
def test_what_is_no_sound_gets_one_sentence(
    name: str, content: bytes, said: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        whole(tmp_path / name)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_a_playlist_makes_nobody_read_another_file(tmp_path: Path) -> None:
    other = write(tmp_path / "secret.wav", sweep(8000), 8000, "PCM_16")
    playlists = ("ffconcat version 1.0\nfile {}\n", "#EXTM3U\n#EXTINF:1,\n{}\n")
    for text in (playlist.format(other.name) for playlist in playlists):
        for name in ("a.m3u8", "a.ffconcat", "a.mp4"):
            (tmp_path / name).write_text(text)
            with pytest.raises(UserError, match="text"):
                read_facts(tmp_path / name)


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    for name, said in (("none.wav", "no file"), ("", "folder"), ("pipe.wav", "no ordinary file")):
        with pytest.raises(UserError, match=said):
            read_facts(tmp_path / name)


def test_a_video_without_sound(tmp_path: Path) -> None:
    import av

    with av.open(tmp_path / "a.mp4", "w") as made:
        stream = made.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(5):
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
            made.mux(stream.encode(frame))
        made.mux(stream.encode(None))
    with pytest.raises(UserError, match=r"a\.mp4 has no sound in it"):
        read_facts(tmp_path / "a.mp4")


@pytest.mark.parametrize("share", [0.6, 0.2])
@pytest.mark.parametrize(
    ("suffix", "subtype"),
    [("mp3", "MPEG_LAYER_III"), ("flac", "PCM_16"), ("wav", "PCM_16")],
)
def test_what_was_cut_short_gives_what_is_there(
    suffix: str, subtype: str, share: float, tmp_path: Path
) -> None:
    wave = sweep(44_100, 2, 4.0)
    path = write(tmp_path / f"a.{suffix}", wave, 44_100, subtype)
    expected, _ = whole(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    found, reader = whole(path, 10_000)
    assert reader.length == found.shape[1]
    assert 0.4 * share < found.shape[1] / wave.shape[1] < 1.5 * share
    inside = found.shape[1] - 3000  # the last frame of an MP3 leans on the next
    np.testing.assert_allclose(found[:, :inside], expected[:, :inside], atol=1e-4)
    assert any("ends early" in note for note in reader.notes)


def test_a_video_that_was_cut_short_says_so(tmp_path: Path) -> None:
    path = encoded(tmp_path / "a.mka", sweep(44_100, 2, 4.0), 44_100, "flac")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    found, reader = whole(path)
    assert 40_000 < found.shape[1] < 120_000
    assert reader.length == found.shape[1]


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_a_recorder_that_was_switched_off_left_no_length(size: int, tmp_path: Path) -> None:
    wave = sweep(8000)
    data = np.rint(wave[0] * 32_768).astype("<i2").tobytes()
    path = tmp_path / "a.wav"
    content = bytearray(wav_header(1, 8000, size=len(data), data=data))
    content[4:8] = content[40:44] = size.to_bytes(4, "little")
    path.write_bytes(content)
    found, reader = whole(path)
    assert found.shape == wave.shape
    np.testing.assert_allclose(found, wave, atol=1e-4)
    assert reader.notes == ()


def test_a_flac_that_does_not_know_its_length(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", sweep(44_100, 1), 44_100, "PCM_16")
    expected, _ = whole(path)
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    path.write_bytes(content)
    np.testing.assert_array_equal(whole(path)[0], expected)


def test_suffixes_are_lower_case_and_apart() -> None:
    both = SOUND_SUFFIXES + VIDEO_SUFFIXES
    assert len(set(both)) == len(both)
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in both)


def test_an_hour_is_read_in_the_memory_of_a_minute(tmp_path: Path) -> None:
    path = tmp_path / "hour.wav"
    minute = np.rint(3000 * np.sin(np.arange(8000 * 60) / 7)).astype(np.int16)
    with soundfile.SoundFile(path, "w", 8000, 1, "PCM_16") as file:
        for _ in range(60):
            file.write(minute)
    tracemalloc.start()
    try:
        with open_sound(path) as reader:
            total = sum(block.shape[1] for block in reader.blocks(8000))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert total == 3600 * 8000
    assert peak < 2_000_000  # bytes; the hour has 115 million
