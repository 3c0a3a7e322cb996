"""From a recording to its outputs, with small networks of random or chosen weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray

from engines.base import Cancelled, Result, UserError
from engines.media.provenance import from_file
from engines.media.sound_read import open_sound
from engines.speech.engine import StormEngine
from engines.speech.params import StormParams
from engines.speech.small import SmallStorm
from engines.weights import LoadedModel, ModelFile
from studio.bench.job import BenchJob
from tests.engines.media.make_sound import video
from tests.engines.speech.make_sound import hiss, voice

FILE = ModelFile(
    "storm-small", "speech.storm/small", "bundled", "", "", "", Path("x"), "0" * 64, 1, {}
)


def network(gain: float = 0.0, refiner: bool = True) -> SmallStorm:
    """Tiny networks that change nothing (`gain` 0) or make everything quieter (below 0)."""
    torch.manual_seed(1)
    made = SmallStorm([8] * 5, [1] * 5, refiner=refiner).eval().requires_grad_(False)
    assert made.denoiser.unet.head.bias is not None
    made.denoiser.unet.head.bias[:2] = gain + float(np.arctanh(0.5)) - 0.5493
    if made.refiner is not None:
        made.refiner.begin_as(made.denoiser)
        made.refiner.unet.head.weight.normal_(0.0, 0.05)
    return made


class StudioJob(BenchJob):
    """A job with a workspace and chosen networks; asks for a stop at the n-th question."""

    def __init__(self, folder: Path, made: SmallStorm, stop_at: int = 10**9) -> None:
        self.workspace = folder / "workspace"
        self.workspace.mkdir(exist_ok=True)
        self.reports: list[tuple[float, str]] = []
        self.asked = 0
        self._made, self._stop_at = made, stop_at

    def progress(self, done: float, total: float, text: str) -> None:
        self.reports.append((done / total, text))

    def check_cancelled(self) -> None:
        self.asked += 1
        if self.asked >= self._stop_at:
            raise Cancelled

    def load(self, model_id: str) -> LoadedModel:
        return LoadedModel(replace(FILE, id=model_id), self._made)


def run(path: Path, made: SmallStorm | None = None, **params: Any) -> Result:
    job = StudioJob(path.parent, made or network(-0.3))
    return StormEngine().run([path], StormParams(**params), job)


def write(path: Path, sound: NDArray[np.floating], rate: int, subtype: str = "PCM_16") -> Path:
    """`sound` (C, n)."""
    soundfile.write(path, sound.T, rate, subtype=subtype)
    return path


def read(path: Path) -> NDArray[np.float32]:
    """(C, n)."""
    with open_sound(path) as reader:
        return np.concatenate(list(reader.blocks(1 << 16)), axis=1)


def by_label(result: Result) -> dict[str, Path]:
    return {output.label: output.path for output in result.outputs}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# every kind of file


@pytest.mark.parametrize(
    ("rate", "channels", "subtype", "suffix"),
    [
        (8_000, 1, "PCM_16", ".wav"),
        (11_025, 2, "PCM_24", ".wav"),
        (16_000, 1, "PCM_U8", ".wav"),
        (22_050, 1, "FLOAT", ".wav"),
        (44_100, 2, "PCM_16", ".flac"),
        (48_000, 6, "PCM_24", ".wav"),
        (96_000, 2, "PCM_24", ".flac"),
    ],
)
def test_rate_length_channels_and_depth_are_the_inputs(
    rate: int, channels: int, subtype: str, suffix: str, tmp_path: Path
) -> None:
    one = voice(1.3, rate)
    sound = np.stack([one * (0.9**k) + hiss(len(one), 0.01, k) for k in range(channels)])
    source = write(tmp_path / f"a b{suffix}", sound, rate, subtype)
    before = hashlib.sha256(source.read_bytes()).hexdigest()
    result = run(source, removed=True)
    assert hashlib.sha256(source.read_bytes()).hexdigest() == before
    assert [output.primary for output in result.outputs] == [True, False]
    out = result.outputs[0].path
    assert out.name == f"a b-clean{suffix}"
    info, was = soundfile.info(out), soundfile.info(source)
    assert (info.samplerate, info.channels, info.frames) == (rate, channels, was.frames)
    assert info.subtype == subtype
    noisy, clean, removed = (read(p) for p in (source, out, by_label(result)["What was removed"]))
    step = {"PCM_U8": 2**-7, "PCM_16": 2**-15, "PCM_24": 2**-23, "FLOAT": 1e-7}[subtype]
    assert float(np.abs(clean + removed - noisy).max()) < 3.1 * step
    assert 0.1 < float(clean.std() / noisy.std()) < 0.6
    assert all(np.isfinite(m.value) for m in result.measurements.values())
    told = from_file(out)
    assert told is not None
    assert told["params"]["mode"] == "fast"
    assert told["regenerated"] is False
    assert [track.label for track in result.tracks] == ["Before", "After", "Removed"]
    assert len({read(track.sound).shape[1] for track in result.tracks}) == 1
    assert all(track.spectrogram.stat().st_size > 100 for track in result.tracks)
    assert result.thumbnail is not None
    assert result.thumbnail.read_bytes().startswith(b"\xff\xd8")
    left = {path.name for path in (tmp_path / "workspace").iterdir()}
    assert not {name for name in left if "partial" in name}


def test_a_network_that_changes_nothing_gives_the_input_back(tmp_path: Path) -> None:
    sound = np.stack([voice(6.0, 44_100), voice(6.0, 44_100, 3)])
    source = write(tmp_path / "a.wav", sound, 44_100, "PCM_24")
    result = run(source, network())
    assert float(np.abs(read(result.outputs[0].path) - read(source)).max()) < 1e-6


def test_no_strength_is_the_input_and_six_decibels_are_half(tmp_path: Path) -> None:
    sound = hiss(48_000, 0.1)[None] + np.float32(0.05)
    source = write(tmp_path / "a.wav", sound, 48_000, "FLOAT")
    assert float(np.abs(read(run(source, strength=0).outputs[0].path) - sound).max()) < 1e-6
    whole = sound - read(run(source).outputs[0].path)
    half = sound - read(run(source, strength=20 * np.log10(2)).outputs[0].path)
    assert np.allclose(half, 0.5 * whole, atol=1e-6)


def test_an_offset_is_taken_out_and_said(tmp_path: Path) -> None:
    sound = voice(3.0, 16_000)[None] + np.float32(0.2)
    source = write(tmp_path / "a.wav", sound, 16_000, "PCM_24")
    result = run(source, network())
    assert any("offset of" in note for note in result.notes)
    clean = read(result.outputs[0].path)
    assert abs(float(clean.mean())) < 1e-4
    assert np.allclose(clean, sound - sound.mean(), atol=1e-5)


@pytest.mark.parametrize("level", [0.0, 3e-5])
def test_silence_stays_silence(level: float, tmp_path: Path) -> None:
    sound = hiss(80_000, level / 4)[None]
    source = write(tmp_path / "a.wav", sound, 16_000, "PCM_24")
    result = run(source, mode="natural")
    assert np.array_equal(read(result.outputs[0].path), read(source))
    assert any("nothing louder than -80 dBFS" in note for note in result.notes)
    assert result.measurements["network_calls"].value == 0


@pytest.mark.parametrize("samples", [1, 160, 4_001])
@pytest.mark.parametrize("mode", ["fast", "natural"])
def test_very_short_sounds(samples: int, mode: str, tmp_path: Path) -> None:
    sound = voice(1.0, 16_000)[None, 3_000 : 3_000 + samples]
    source = write(tmp_path / "a.wav", sound, 16_000)
    assert read(run(source, mode=mode).outputs[0].path).shape == (1, samples)


def test_nothing_new_clips(tmp_path: Path) -> None:
    sound = 1.9 * voice(3.0, 16_000)[None]
    source = write(tmp_path / "a.wav", sound, 16_000)
    result = run(source, network(0.1))  # louder than the input
    assert not any("is clipped" in note for note in result.notes)
    assert any("Peaks that would have clipped" in note for note in result.notes)
    assert result.measurements["limited"].value > 0
    clean = read(result.outputs[0].path)
    assert float(np.abs(clean).max()) <= 1.0
    flat = (np.abs(clean[0, 1:]) > 0.9999) & (np.abs(np.diff(clean[0])) < 1e-4)
    assert int(flat.sum()) < 3, "turned down, not cut off"


def test_clipped_input_is_said(tmp_path: Path) -> None:
    sound = np.clip(4.0 * voice(3.0, 16_000), -1.0, 1.0)[None]
    source = write(tmp_path / "a.wav", sound, 16_000)
    result = run(source)
    assert any("is clipped" in note for note in result.notes)
    assert result.measurements["clipped_before"].value > 0.1


def test_samples_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    sound = voice(1.0, 16_000)[None]
    sound[0, 8_000] = np.nan
    source = write(tmp_path / "a.wav", sound, 16_000, "FLOAT")
    with pytest.raises(UserError, match=r"no number.*0\.500 s"):
        run(source)
    assert not list((tmp_path / "workspace").iterdir())


# channels, highs, region, loudness


def test_mono(tmp_path: Path) -> None:
    sound = np.stack([voice(1.0, 16_000), voice(1.0, 16_000, 3)])
    source = write(tmp_path / "a.wav", sound, 16_000, "PCM_24")
    result = run(source, network(), channels="mono")
    assert np.allclose(read(result.outputs[0].path), sound.mean(axis=0), atol=1e-6)
    assert "The 2 channels were mixed to one" in result.notes


def test_channels_that_cancel_are_cleaned_each(tmp_path: Path) -> None:
    wave = voice(2.0, 16_000) + hiss(32_000, 0.01)
    source = write(tmp_path / "a.wav", np.stack([wave, -wave]), 16_000, "PCM_24")
    result = run(source)
    assert any("cancel each other" in note for note in result.notes)
    clean = read(result.outputs[0].path)
    assert np.allclose(clean[0], -clean[1], atol=1e-5)
    assert float(clean[0].std()) < 0.6 * float(wave.std())


def test_what_lies_above_the_network(tmp_path: Path) -> None:
    rate = 48_000
    time = np.arange(2 * rate) / rate
    low, high = (0.2 * np.sin(2 * np.pi * f * time).astype(np.float32) for f in (5_000, 15_000))
    source = write(tmp_path / "a.wav", (low + high)[None], rate, "PCM_24")

    def left(**params: Any) -> tuple[float, float]:
        clean = read(run(source, **params).outputs[0].path)[0, 10_000:-10_000]
        parts = (low[10_000:-10_000], high[10_000:-10_000])
        return tuple(float(clean @ part / (part @ part)) for part in parts)  # type: ignore[return-value]

    below, above = left()
    assert 0.1 < below < 0.5
    assert above == pytest.approx(below, rel=0.05)
    assert left(highs="keep") == pytest.approx((below, 1.0), rel=0.01)
    assert left(highs="drop")[1] == pytest.approx(0.0, abs=1e-3)


def test_a_part_alone(tmp_path: Path) -> None:
    sound = np.stack([voice(4.0, 16_000), voice(4.0, 16_000, 3)])
    source = write(tmp_path / "a.wav", sound, 16_000, "PCM_24")
    result = run(source, network(), start=1.5, length=0.75)
    assert np.allclose(read(result.outputs[0].path), sound[:, 24_000:36_000], atol=1e-6)
    with pytest.raises(UserError, match=r"no sound in a\.wav here"):
        run(source, start=4.5)


def test_loudness_target(tmp_path: Path) -> None:
    sound = 0.1 * voice(4.0, 48_000)[None]
    source = write(tmp_path / "a.wav", sound, 48_000, "PCM_24")
    result = run(source, network(), loudness=-18.0, removed=True)
    assert result.measurements["loudness_after"].value == pytest.approx(-18.0, abs=0.5)
    assert float(np.abs(read(result.outputs[0].path)).max()) <= 0.892
    assert float(np.abs(read(by_label(result)["What was removed"])).max()) < 1e-5
    assert not list((tmp_path / "workspace").glob("*.partial"))


def test_ambience_is_kept_between_the_words(tmp_path: Path) -> None:
    rate = 16_000
    noise = hiss(6 * rate, 0.02)
    sound = noise.copy()
    sound[2 * rate : 4 * rate] += 0.5 * np.sin(np.arange(2 * rate) * 0.3).astype(np.float32)
    source = write(tmp_path / "a.wav", sound[None], rate, "PCM_24")
    result = run(source, network(-0.5), keep=0.0)
    bare = read(result.outputs[0].path)[0]
    kept = read(run(source, network(-0.5), keep=0.5).outputs[0].path)[0]
    pause, was = slice(4_000, 28_000), noise[4_000:28_000].std()
    assert float(bare[pause].std()) < 0.05 * was
    assert float(kept[pause].std()) == pytest.approx(0.5 * float(was), rel=0.1)


@pytest.mark.parametrize("rate", [11_025, 22_050, 48_000, 96_000])
def test_tracks_of_long_recordings_are_small(
    rate: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engines.sound.tracks._LONG", 1.0)
    sound = np.stack([voice(2.0, rate), voice(2.0, rate, 3)]) + hiss(2 * rate, 0.01)
    tracks = run(write(tmp_path / "a.wav", sound, rate)).tracks
    assert {track.sound.suffix for track in tracks} == {".mp3"}
    lengths = {soundfile.info(track.sound).duration for track in tracks}
    assert len(lengths) == 1
    assert lengths.pop() == pytest.approx(2.0, abs=0.1)
    assert {soundfile.info(track.sound).channels for track in tracks} == {1}


# modes, seeds, cancelling


def test_natural_and_best_are_the_same_for_a_seed(tmp_path: Path) -> None:
    sound = (voice(3.0, 16_000) + hiss(48_000, 0.03))[None]
    source = write(tmp_path / "a.wav", sound, 16_000, "PCM_24")
    calls = {}
    found = {}
    for mode, seed in [("natural", 0), ("natural", 1), ("best", 0)]:
        params = {"mode": mode, "sampler": "sde", "seed": seed}
        result = run(source, network(), **params)
        found[mode, seed] = read(result.outputs[0].path)
        again = read(run(source, network(), **params).outputs[0].path)
        assert np.array_equal(found[mode, seed], again)
        calls[mode] = result.measurements["network_calls"].value
        assert any("Speech was rebuilt" in note for note in result.notes)
        assert np.isfinite(result.measurements["agreement"].value)
    assert not np.array_equal(found["natural", 0], found["natural", 1])
    assert calls["natural"] <= 10 < calls["best"]


def test_what_the_weights_cannot_do_is_said(tmp_path: Path) -> None:
    source = write(tmp_path / "a.wav", voice(1.0, 16_000)[None], 16_000)
    with pytest.raises(UserError, match="predict only"):
        run(source, network(refiner=False), mode="natural")
    with pytest.raises(UserError, match="ODE or SDE"):
        run(source, mode="best", sampler="predictor-corrector")
    with pytest.raises(UserError, match="Only Fast takes out the room"):
        run(source, mode="best", task="dereverb")
    assert not list((tmp_path / "workspace").iterdir())


def test_cancelled_between_two_steps_and_nothing_is_left(tmp_path: Path) -> None:
    sound = (voice(3.0, 16_000) + hiss(48_000, 0.03))[None]
    source = write(tmp_path / "a.wav", sound, 16_000)
    job = StudioJob(tmp_path, network())
    StormEngine().run([source], StormParams(mode="best"), job)
    whole = job.asked
    assert whole > 11, "before every network call"
    for path in job.workspace.iterdir():
        path.unlink()
    for stop_at in range(1, whole + 1, 3):
        job = StudioJob(tmp_path, network(), stop_at)
        with pytest.raises(Cancelled):
            StormEngine().run([source], StormParams(mode="best"), job)
        assert job.asked == stop_at
        assert not list(job.workspace.iterdir())


def test_progress_rises_to_the_end(tmp_path: Path) -> None:
    source = write(tmp_path / "a.wav", voice(25.0, 16_000)[None], 16_000)
    job = StudioJob(tmp_path, network())
    StormEngine().run([source], StormParams(), job)
    shares = [share for share, _ in job.reports]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert any(text.startswith("cleaning, ") for _, text in job.reports)


# films


@pytest.mark.parametrize("form", ["same", "flac"])
def test_a_film_comes_back_with_clean_sound(form: str, tmp_path: Path) -> None:
    sound = np.stack([voice(2.0, 48_000)] * 2) + hiss(96_000, 0.02)
    source = video(tmp_path / "holiday.mp4", sound, 48_000, "aac")
    before = hashlib.sha256(source.read_bytes()).hexdigest()
    result = run(source, format=form, removed=True)
    assert hashlib.sha256(source.read_bytes()).hexdigest() == before
    names = [output.path.name for output in result.outputs]
    more = ["holiday-clean.flac"] if form == "flac" else []
    assert names[:-1] == ["holiday-clean.mp4", *more]
    assert result.outputs[0].kind == "video"
    assert [output.primary for output in result.outputs] == [True] + [False] * (len(names) - 1)
    noisy, clean = read(source), read(result.outputs[0].path)
    assert clean.shape == noisy.shape
    assert 0.1 < float(clean.std() / noisy.std()) < 0.6
    assert not list((tmp_path / "workspace").glob("*.film*"))


def test_a_part_of_a_film_is_sound_alone(tmp_path: Path) -> None:
    sound = np.stack([voice(2.0, 48_000)] * 2)
    source = video(tmp_path / "holiday.mp4", sound, 48_000, "aac")
    result = run(source, network(), start=0.5, length=1.0)
    assert [output.kind for output in result.outputs] == ["audio"]
    assert read(result.outputs[0].path).shape[1] >= 48_000
    assert any("picture" in note for note in result.notes)
