"""`bench separation` on a few made mixtures: what the peers do, what the rows say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from engines.base import UserError
from engines.separation.metrics import si_sdr
from engines.separation.small import SmallSep
from engines.training.labelled import table
from engines.weights import save_safetensors
from studio.bench import BENCHES, load_bench, separation
from studio.bench.stems import classic, paraphrases
from studio.bench.stems.sets import NOISY, TWO, UNSEEN, Mixture
from studio.bench.stems.table import Score, groups, rows, struck
from studio.bench.stems.trained import Network, all_named, by_name, plainly, presence, unnamed

_KINDS = {"flute": ("musical instrument", "wind instrument"), "snare drum": ("percussion",)}


def _mixture(group: str = TWO, labels: Sequence[str] = ("flute", "snare drum")) -> Mixture:
    """A held tone and clicks, which even the simplest peers tell apart."""
    time = np.arange(32_768) / 16_000
    tone = 0.2 * np.sin(2 * np.pi * 440.0 * time)
    clicks = np.zeros_like(time)
    clicks[2_000::6_000] = 1.0
    clicks = np.convolve(clicks, np.exp(-np.arange(400) / 60.0), mode="same")
    clicks *= np.random.default_rng(0).normal(size=len(time))
    return Mixture(
        group,
        np.stack([tone, 0.3 * clicks]).astype(np.float32),
        tuple(labels),
        (0, 1),
        "cow",
        tuple(_KINDS.get(label, ("animal",)) for label in labels),
    )


def _gain(found: np.ndarray, one: Mixture) -> list[float]:
    return [si_sdr(one.sources[n], found[n]) - si_sdr(one.sources[n], one.mixed) for n in one.asked]


def test_it_is_a_bench() -> None:
    assert BENCHES["separation"] == separation.__name__
    assert load_bench("separation").TITLE


def test_the_ideal_mask_is_a_ceiling_and_the_mixture_the_floor() -> None:
    one = _mixture()
    assert _gain(classic.mixture(one), one) == pytest.approx([0.0, 0.0], abs=1e-6)
    ideal = _gain(classic.ideal(one), one)
    assert min(ideal) > 10.0
    split = _gain(classic.harmonic_percussive(one), one)
    assert min(split) > 5.0
    assert all(best > other for best, other in zip(ideal, split, strict=True))


def test_factorisation_is_told_whose_its_parts_are() -> None:
    pytest.importorskip("sklearn")
    one = _mixture()
    assert min(_gain(classic.factorised(each=True)(one), one)) > 5.0
    many = classic.factorised(each=False)(one)
    assert min(_gain(many, one)) > 5.0
    assert np.abs(many.sum(axis=0) - one.mixed).max() < 0.05  # every part is somebody's


def test_a_part_that_nobody_holds_most_of_is_still_given() -> None:
    pytest.importorskip("sklearn")
    one = _mixture()
    quiet = Mixture(TWO, one.sources * np.array([[1.0], [1e-4]], np.float32), *_rest(one))
    assert np.isfinite(classic.factorised(each=True)(quiet)).all()


def _rest(
    one: Mixture,
) -> tuple[tuple[str, ...], tuple[int, ...], str, tuple[tuple[str, ...], ...]]:
    return one.labels, one.asked, one.absent, one.kinds


def _score(value: float) -> Score:
    return Score(value, value + 5.0, np.inf, value - 1.0)


def test_rows_hold_medians_by_set_class_and_label() -> None:
    mixtures = [_mixture(), _mixture(), _mixture(NOISY), _mixture(UNSEEN, ("goat", "flute"))]
    found = groups(mixtures)
    assert found["class: instruments"] == [(0, 0), (1, 0)]
    assert found["class: drums and percussion"] == [(0, 1), (1, 1)]
    assert list(found)[:3] == [TWO, NOISY, UNSEEN]
    scores = {"one": {(n, p): _score(n + p) for n in range(4) for p in (0, 1)}, "none": {}}
    assert found["unseen label: goat"] == [(3, 0)]
    [first, *others] = rows(mixtures, scores, detail="two")
    assert not [row for row in others if "label" in row["set"]]
    assert any(row["set"] == "label: flute" for row in rows(mixtures, scores, detail="one"))
    assert first == {
        "set": TWO,
        "system": "one",
        "sounds": 4,
        "sdr_median": 1.0,
        "sdr_mean": 1.0,
        "sir_median": 6.0,
        "sar_median": 80.0,  # infinite
        "si_sdr_gain_median": 0.0,
        "si_sdr_gain_mean": 0.0,
        "si_sdr_gain_±": 0.69,
    }
    # Who was judged on some of a set alone has no row there.
    some = rows(mixtures, {"some": {(0, 0): _score(1.0), (0, 1): _score(1.0)}}, detail="some")
    assert not some
    assert struck(mixtures[0])
    assert not struck(mixtures[3])


def test_what_cannot_run_here_is_left_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def lacking(_one: Mixture) -> np.ndarray:
        raise ImportError("no sklearn", name="sklearn")

    def unknown(_one: Mixture) -> np.ndarray:
        raise UserError("This model knows a list of sounds")

    found = separation.judged(
        [_mixture(), _mixture()],
        {"mixture": classic.mixture, "peer": lacking, "labels": unknown},
    )
    assert set(found) == {"mixture", "labels"}
    assert found["labels"] == found["mixture"]  # what is not known stays mixed
    assert capsys.readouterr().err.count("it needs scikit-learn") == 1


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of training runs with untrained networks."""
    folder = tmp_path_factory.mktemp("runs")
    sizes = {"widths": [4, 4, 4, 4], "blocks": [1, 1, 1, 1], "channels": 4}
    for name, kind in (
        ("clipsep-small", "nit"),
        ("labelsep-small", "label"),
        ("pitsep-small", "pit"),
    ):
        torch.manual_seed(0)
        settings = {**sizes, "kind": kind, "words": ["flute", "snare drum"]}
        network = SmallSep(**settings)
        card = {"network": "separation.clipsep/small", "config": settings, "steps": 500}
        (folder / name).mkdir()
        save_safetensors(folder / name / f"{name}.safetensors", network.state_dict(), card)
    return folder


def test_networks_are_asked_as_they_are_used(runs: Path) -> None:
    one = _mixture()
    shipped = Network("clipsep-small", runs / "clipsep-small")
    for separate in (by_name(shipped), by_name(Network("labelsep-small", runs / "labelsep-small"))):
        assert separate(one).shape == (2, 32_768)
    # A sound that is asked for alone competes with what is left.
    assert not np.allclose(by_name(shipped)(one), plainly(shipped)(one))
    shared = all_named(shipped)(one)
    assert np.abs(shared.sum(axis=0)).max() <= np.abs(one.mixed).max() * 1.05
    pair = unnamed(Network("pitsep-small", runs / "pitsep-small"))(one)
    assert pair.shape == (2, 32_768)
    assert 0.0 <= presence(shipped, one.mixed, "cow") <= 1.0


def test_presence_tells_what_is_there_from_what_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def share(_network: object, _mixed: object, text: str) -> float:
        return 0.05 if text == "cow" else 0.3

    monkeypatch.setattr("studio.bench.stems.trained.presence", share)
    [energy, *_] = separation.presences(None, [_mixture(), _mixture()])  # pyright: ignore[reportArgumentType]
    assert (energy["found_of_there"], energy["found_of_absent"]) == (1.0, 0.0)
    assert energy["told_apart"] == 1.0
    assert energy["sounds"] == 6


def test_networks_that_are_not_here_are_named(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shipped = Network("clipsep-small", tmp_path, runs / "clipsep-small")
    assert shipped.steps == 500
    found = separation.systems(shipped, runs)
    assert "LabelSep, 500 steps" in found
    assert not [name for name in found if name.startswith("CLIPSep,")]
    assert "CLIPSep-NIT, 500 steps" not in found  # it is the one that ships
    assert "train clipsep-small-plain first" in capsys.readouterr().err
    with pytest.raises(UserError, match="not on this machine"):
        Network("clipsep-small", tmp_path)


def test_no_training_read_the_other_words() -> None:
    known = table()
    trained = {word.lower() for one in known.labels.values() for word in one.words}
    trained |= {word.lower() for words in known.kinds.values() for word in words}
    for label in known.labels:
        assert paraphrases.paraphrase(label).lower() not in trained
    assert set(paraphrases._WORDS) <= set(known.labels)
