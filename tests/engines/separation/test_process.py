"""From a recording to its tracks, with a network whose masks are known."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from engines.base import Cancelled, Result, UserError
from engines.media.provenance import from_file
from engines.separation.engine import ClipSepEngine
from engines.separation.params import ClipSepParams
from tests.engines.media.make_sound import video
from tests.engines.separation.make_sound import (
    StudioJob,
    read,
    run,
    splitting,
    two_tones,
    write,
)


@pytest.fixture(autouse=True)
def _known_masks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    splitting(monkeypatch)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def names(result: Result) -> list[str]:
    return [output.path.name for output in result.outputs]


def level(sound: np.ndarray) -> float:
    return float(np.sqrt(np.square(sound[:, 2000:-2000], dtype=np.float64).mean()))


# every kind of file


@pytest.mark.parametrize(
    ("rate", "channels", "subtype", "suffix"),
    [
        (8_000, 1, "PCM_16", ".wav"),
        (11_025, 2, "PCM_U8", ".wav"),
        (16_000, 1, "FLOAT", ".wav"),
        (22_050, 1, "PCM_24", ".wav"),
        (44_100, 2, "PCM_16", ".flac"),
        (48_000, 6, "PCM_24", ".wav"),
        (96_000, 2, "PCM_32", ".wav"),
    ],
)
def test_tracks_and_remainder_add_up_to_the_recording(
    rate: int, channels: int, subtype: str, suffix: str, tmp_path: Path
) -> None:
    low, high = two_tones(5.3, rate, channels)
    noise = 0.01 * np.random.default_rng(0).standard_normal(low.shape)
    source = write(tmp_path / f"a b{suffix}", low + high + noise, rate, subtype)
    before = hashlib.sha256(source.read_bytes()).hexdigest()
    result = run(source, query=("low", "half"), competition=False)
    assert hashlib.sha256(source.read_bytes()).hexdigest() == before
    assert names(result) == [f"a b.{name}{suffix}" for name in ("low", "half", "remainder")]
    assert [output.primary for output in result.outputs] == [True, False, False]
    was = soundfile.info(source)
    parts = []
    for output in result.outputs:
        info = soundfile.info(output.path)
        assert (info.samplerate, info.channels, info.frames) == (rate, channels, was.frames)
        assert info.subtype == subtype
        parts.append(read(output.path).astype(np.float64))
    assert float(np.abs(sum(parts) - read(source)).max()) < 1e-6
    # Above 8 kHz, and in all other places as well, each track is what its mask says.
    assert level(parts[1]) == pytest.approx(0.5 * level(low + high + noise), rel=0.02)
    assert level(parts[0] - low) < 0.02
    told = from_file(result.outputs[0].path)
    assert told is not None
    assert told["params"]["query"] == ["low", "half"]
    assert [track.label for track in result.tracks] == ["Before", "low", "half", "Remainder"]
    assert len({read(track.sound).shape[1] for track in result.tracks}) == 1
    assert all(np.isfinite(one.value) for one in result.measurements.values())
    assert result.thumbnail is not None
    left = {path.name for path in (tmp_path / "workspace").iterdir()}
    assert not {name for name in left if "partial" in name}


def test_fewer_bits_than_the_recording_still_add_up(tmp_path: Path) -> None:
    low, high = two_tones(2.0, 48_000, 2)
    source = write(tmp_path / "a.wav", low + high, 48_000, "PCM_24")
    result = run(source, query=("low", "high"), depth="16")
    total = sum(read(output.path).astype(np.float64) for output in result.outputs)
    assert float(np.abs(total - read(source)).max()) < 1e-4


def test_a_lossy_recording_comes_apart_into_what_adds_up(tmp_path: Path) -> None:
    low, high = two_tones(3.0, 44_100, 2)
    source = write(tmp_path / "a.ogg", low + high, 44_100, "VORBIS")
    result = run(source, query=("low", "high"))
    assert names(result) == ["a.low.flac", "a.high.flac", "a.remainder.flac"]
    assert any("written as FLAC" in note for note in result.notes)
    total = sum(read(output.path).astype(np.float64) for output in result.outputs)
    assert float(np.abs(total - read(source)).max()) < 1e-4


def test_lossy_tracks_say_that_they_do_not_add_up(tmp_path: Path) -> None:
    low, high = two_tones(1.5, 44_100)
    source = write(tmp_path / "a.wav", low + high, 44_100)
    result = run(source, query=("low",), format="mp3")
    assert any("choose WAV or FLAC" in note for note in result.notes)
    assert names(result) == ["a.low.mp3", "a.remainder.mp3"]


@pytest.mark.parametrize("samples", [1, 160, 4_001])
def test_very_short_sounds(samples: int, tmp_path: Path) -> None:
    low, high = two_tones(1.0, 44_100)
    source = write(tmp_path / "a.wav", (low + high)[:, 100 : 100 + samples], 44_100)
    result = run(source, query=("low",))
    parts = [read(output.path) for output in result.outputs]
    assert {part.shape for part in parts} == {(1, samples)}
    assert np.array_equal(parts[0] + parts[1], read(source))


@pytest.mark.parametrize("loudest", [0.0, 3e-5])
def test_silence_is_left_alone(loudest: float, tmp_path: Path) -> None:
    sound = loudest * np.sin(np.arange(80_000) * 0.1)[None].astype(np.float32)
    source = write(tmp_path / "a.wav", sound, 16_000, "PCM_24")
    result = run(source, query=("low", "high"))
    assert np.array_equal(read(result.outputs[-1].path), read(source))
    assert result.measurements["network_calls"].value == 0
    assert result.measurements["presence_low"].value == 0
    assert any("nothing louder than -80 dBFS" in note for note in result.notes)


def test_samples_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    sound = two_tones(1.0, 16_000)[0]
    sound[0, 8_000] = np.nan
    source = write(tmp_path / "a.wav", sound, 16_000, "FLOAT")
    with pytest.raises(UserError, match=r"no number.*0\.500 s"):
        run(source, query=("low",))
    assert not list((tmp_path / "workspace").iterdir())


# what was asked for


def test_remove_gives_the_recording_without_it(tmp_path: Path) -> None:
    low, high = two_tones(3.0, 48_000, 2)
    source = write(tmp_path / "song.wav", low + high, 48_000, "PCM_24")
    result = run(source, query=("high",), mode="remove")
    assert names(result) == ["song.without high.wav", "song.high.wav"]
    assert [output.label for output in result.outputs] == ["Without high", "high"]
    assert level(read(result.outputs[0].path) - low) < 1e-3
    assert [track.label for track in result.tracks] == ["Before", "Without", "high"]
    for words in ("everything but high", "no high"):
        asked = run(source, query=(words,))
        assert names(asked) == names(result)
        assert any("remove" in note for note in asked.notes)
    half = run(source, query=("high",), mode="remove", strength=0.5)
    assert level(read(half.outputs[0].path) - low - 0.5 * high) < 1e-3


def test_at_strength_nought_a_track_is_the_recording(tmp_path: Path) -> None:
    low, high = two_tones(3.0, 44_100)
    source = write(tmp_path / "a.wav", low + high, 44_100, "PCM_24")
    result = run(source, query=("low",), strength=0.0)
    assert float(np.abs(read(result.outputs[0].path) - read(source)).max()) < 1e-5


def test_what_must_not_be_there_is_taken_out(tmp_path: Path) -> None:
    low, high = two_tones(3.0, 48_000)
    source = write(tmp_path / "a.wav", low + high, 48_000, "PCM_24")
    result = run(source, query=("half",), negative=("high",), competition=False)
    assert level(read(result.outputs[0].path) - 0.5 * low) < 2e-3
    same = run(source, query=("half but not high",), competition=False)
    assert names(same)[0] == "a.half.wav"
    assert level(read(same.outputs[0].path) - 0.5 * low) < 2e-3


def test_binary_masks_and_competition(tmp_path: Path) -> None:
    low, high = two_tones(3.0, 48_000)
    source = write(tmp_path / "a.wav", low + high, 48_000, "PCM_24")
    result = run(source, query=("low", "half"))
    # Below 2 kHz the masks are 1 and 1/2 and nothing remains, so the shares are 4/5 and 1/5; above
    # they are 0 and 1/2, with a remainder that counts as (1/2)^2.
    shares = [read(output.path) for output in result.outputs]
    assert level(shares[0] - 0.8 * low) < 2e-3
    assert level(shares[1] - 0.2 * low - 0.8 * high) < 2e-3
    result = run(source, query=("low", "half"), mask="binary")
    first = read(result.outputs[0].path)
    assert level(first - low) < 2e-3


def test_channels_each_and_linked(tmp_path: Path) -> None:
    low, high = two_tones(3.0, 48_000)
    both = np.concatenate([low + high, -(low + high)])  # cancel in their mean
    source = write(tmp_path / "a.wav", both, 48_000, "PCM_24")
    for channels in ("linked", "each"):
        track = read(run(source, query=("low",), channels=channels).outputs[0].path)
        assert level(track[:1] - low) < 1e-3
        assert np.allclose(track[0], -track[1], atol=1e-6)


def test_unnamed_sounds_come_out_of_the_remainder(tmp_path: Path) -> None:
    low, high = two_tones(3.0, 48_000)
    source = write(tmp_path / "a.wav", low + high, 48_000, "PCM_24")
    result = run(source, query=("low",), noise=True)
    assert names(result)[1:3] == ["a.Unnamed 1.wav", "a.Unnamed 2.wav"]
    parts = [read(output.path).astype(np.float64) for output in result.outputs]
    assert float(np.abs(sum(parts) - read(source)).max()) < 1e-6
    assert level(parts[2]) > 0.4 * level(high)


def test_a_part_alone(tmp_path: Path) -> None:
    low, high = two_tones(4.0, 16_000)
    source = write(tmp_path / "a.wav", low + high, 16_000, "PCM_24")
    result = run(source, query=("low",), start=1.5, length=0.75)
    parts = [read(output.path) for output in result.outputs]
    assert np.allclose(parts[0] + parts[1], (low + high)[:, 24_000:36_000], atol=1e-6)


# what a person is told


def test_what_is_not_there_is_said_and_not_faked(tmp_path: Path) -> None:
    low, high = two_tones(3.0, 16_000)
    source = write(tmp_path / "a.wav", low + high, 16_000)
    result = run(source, query=("low", "unicorn"))
    assert any(
        "did not learn “unicorn”, and nothing like it was found; the nearest that it knows are "
        "low, high" in note
        for note in result.notes
    )
    assert float(np.abs(read(result.outputs[1].path)).max()) == 0.0
    assert result.measurements["presence_low"].value == pytest.approx(50.0, abs=5.0)
    assert result.measurements["presence_unicorn"].value == 0.0
    assert result.measurements["likeness_unicorn"].value == pytest.approx(0.1)
    quiet = write(tmp_path / "b.wav", high, 16_000)
    assert any("Nothing like “low” was found" in note for note in run(quiet, query=("low",)).notes)


def test_where_each_sound_occurs(tmp_path: Path) -> None:
    low, high = two_tones(10.0, 48_000)
    low[:, : 4 * 48_000] = 0.0
    low[:, 6 * 48_000 :] = 0.0
    source = write(tmp_path / "a.wav", low + high, 48_000)
    result = run(source, query=("low", "high"), timeline="json")
    assert result.outputs[-1].path.name == "a.timeline.json"
    told = json.loads(result.outputs[-1].path.read_text())["sounds"]
    [[start, end]] = told[0]["intervals_s"]
    assert (start, end) == pytest.approx((4.0, 6.0), abs=0.1)
    [[start, end]] = told[1]["intervals_s"]
    assert (start, end) == pytest.approx((0.0, 10.0), abs=0.1)
    assert told[0]["presence"] > 2 * told[0]["share"]
    assert result.measurements["heard_low"].value == pytest.approx(2.0, abs=0.15)
    assert [len(track.spans) for track in result.tracks] == [0, 1, 1, 0]
    labels = run(source, query=("low",), timeline="audacity").outputs[-1].path.read_text()
    start, end, text = labels.rstrip("\n").split("\t")
    assert (float(start), float(end), text) == (
        pytest.approx(4.0, abs=0.1),
        pytest.approx(6.0, abs=0.1),
        "low",
    )
    formula = run(source, query=("low", "=2+2"), timeline="csv").outputs[-1].path.read_text()
    assert formula.splitlines()[0] == "sound,start_s,end_s"
    assert "\n=2" not in formula


def test_names_of_any_kind(tmp_path: Path) -> None:
    low, high = two_tones(1.0, 16_000)
    source = write(tmp_path / "a.wav", low + high, 16_000)
    strange = ("🐕", "../../etc/passwd", "كلب ينبح", "x" * 2000, "low", "Low", "remainder")
    result = run(source, query=strange)
    found = names(result)
    assert len(found) == 7, "the same word twice is one"
    assert found[0] == "a.sound 1.wav"
    assert "etc passwd" in found[1]
    assert found[2] == "a.كلب ينبح.wav"
    assert all(len(name.encode()) < 255 and "/" not in name for name in found)
    assert len({name.casefold() for name in found}) == 7
    long = write(tmp_path / f"{'y' * 200}.wav", low + high, 16_000)
    for result in (run(long, query=("x" * 2000, "y")), run(long, query=("é" * 99,), mode="remove")):
        assert all(len(name.encode()) < 245 for name in names(result))
    with pytest.raises(UserError, match="2001 characters"):
        run(source, query=("x" * 2001,))
    for nothing in ((), ("",), ("  \n ",)):
        with pytest.raises(UserError, match="Name a sound"):
            run(source, query=nothing)


def test_a_picture_is_a_query_as_well(tmp_path: Path) -> None:
    low, high = two_tones(1.0, 16_000)
    source = write(tmp_path / "a.wav", low + high, 16_000, "PCM_24")
    picture = tmp_path / "high.png"
    picture.touch()
    for result in (run(source, picture), run(source, picture=(str(picture),))):
        assert names(result) == ["a.high.wav", "a.remainder.wav"]
        assert level(read(result.outputs[0].path) - high) < 2e-3
    with pytest.raises(UserError, match="one recording"):
        run(source, source, query=("low",))


# cancelling, progress, memory, films


def test_cancelled_anywhere_and_nothing_is_left(tmp_path: Path) -> None:
    low, high = two_tones(12.0, 16_000)
    source = write(tmp_path / "a.wav", low + high, 16_000)
    params = ClipSepParams(query=("low",))
    job = StudioJob(tmp_path)
    ClipSepEngine().run([source], params, job)
    whole = job.asked
    shares = [share for share, _ in job.reports]
    assert min(np.diff(shares)) > -1e-9
    assert shares[-1] == 1.0
    assert any(text.startswith("separating, ") for _, text in job.reports)
    for path in job.workspace.iterdir():
        path.unlink()
    for stop_at in range(1, whole + 1, 3):
        job = StudioJob(tmp_path, stop_at=stop_at)
        with pytest.raises(Cancelled):
            ClipSepEngine().run([source], params, job)
        assert not list(job.workspace.iterdir())


@pytest.mark.parametrize("mode", ["keep", "remove"])
def test_a_film_comes_back_with_the_sound_that_is_wanted(mode: str, tmp_path: Path) -> None:
    low, high = two_tones(2.0, 48_000, 2)
    source = video(tmp_path / "holiday.mp4", low + high, 48_000, "aac")
    result = run(source, query=("low",), mode=mode, format="flac")
    first = "low" if mode == "keep" else "without low"
    assert names(result)[:2] == [f"holiday.{first}.mp4", f"holiday.{first}.flac"]
    assert result.outputs[0].kind == "video"
    assert [output.primary for output in result.outputs] == [True, False, False]
    wanted = low if mode == "keep" else high
    film = read(result.outputs[0].path)
    assert film.shape == read(source).shape
    assert level(film[:, : wanted.shape[1]]) == pytest.approx(level(wanted), rel=0.1)
    assert not list((tmp_path / "workspace").glob("*.film*"))
