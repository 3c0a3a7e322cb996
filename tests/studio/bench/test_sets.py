from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from engines.base import UserError
from studio.bench.voices import peers, sets, sources, table
from studio.bench.voices.measures import RATE, lag
from studio.bench.voices.sets import Mixture


def test_a_room_decays_as_asked_and_begins_with_the_direct_sound() -> None:
    for decay in (0.3, 0.8):
        response = sets.room(np.random.default_rng(3), decay)
        assert response[0] == response.max()
        assert sets.reverberation_time(response) == pytest.approx(decay, rel=0.1)


def test_reverberation_time_of_an_exponential() -> None:
    assert sets.reverberation_time(10.0 ** (-3.0 * np.arange(RATE) / RATE / 0.4)) == pytest.approx(
        0.4, rel=0.01
    )


def test_babble_is_of_all_its_talkers_evenly() -> None:
    random = np.random.default_rng(1)
    clips = [random.standard_normal(1000).astype(np.float32) * 10.0 ** (-n % 4) for n in range(12)]
    found = sources.babble(clips)
    assert len(found) == 2000
    shares = [np.corrcoef(found[:1000], clip)[0, 1] for clip in clips[:6]]
    assert shares == pytest.approx([1.0 / np.sqrt(6.0)] * 6, abs=0.1)


def test_pairs_of_a_folder(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    for name in ("speech/00-xx", "noise/00-rain"):
        (tmp_path / name).parent.mkdir()
        wave = random.standard_normal(24_000) * 0.1
        soundfile.write(tmp_path / f"{name}.flac", wave, 24_000)
    found = sets.development(tmp_path)
    assert [(one.voice, one.noise, one.snr) for one in found] == [
        ("xx", "rain", snr) for snr in (0, 5, 10)
    ]
    assert len(found[0].noisy) == RATE
    (tmp_path / "noise/00-rain.flac").unlink()
    with pytest.raises(UserError, match="as many FLAC files"):
        sets.development(tmp_path)


def test_frames_lose_no_sample_and_a_lag_is_taken_out() -> None:
    random = np.random.default_rng(4)
    wave = (random.standard_normal(RATE + 77) * 0.1).astype(np.float32)
    held = np.zeros(960, dtype=np.float32)

    def late(frame: np.ndarray) -> np.ndarray:
        nonlocal held
        held = np.concatenate([held, frame])
        now, held = held[:480], held[480:]
        return now

    found = peers.by_frames(wave, late, 960)
    assert len(found) == len(wave)
    assert lag(wave, found) == 0


def mixture(group: str, voice: str = "it-m", noise: str = "hum", snr: int | None = 5) -> Mixture:
    wave = np.zeros(10, dtype=np.float32)
    return Mixture(group, voice, noise, snr, wave, wave)


def test_rows_count_unheard_voices_apart() -> None:
    clips = [
        mixture("held-out"),
        mixture("held-out", snr=-5),
        mixture("held-out", voice="en-f"),
        mixture("clean", noise="", snr=None),
        mixture("development"),
        mixture("silence"),
    ]
    scores = [{"pesq": 1.0}, {"pesq": 2.0}, {"pesq": 9.0}, {"pesq": 4.0}, {"pesq": None}, None]
    found = table.rows(clips, {"noisy": scores})
    assert [(row["set"], row["clips"], row.get("pesq")) for row in found] == [
        ("all", 2, 1.5),
        ("-5 dB", 1, 2.0),
        ("5 dB", 1, 1.0),
        ("development, 5 dB", 1, None),
        ("clean", 1, 4.0),
        ("noise: hum", 2, 1.5),
        ("voice: en-f", 1, 9.0),
        ("voice: it-m", 2, 1.5),
    ]
