"""Speech and noise to train on: a folder of one's own, and whole short runs of both recipes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from engines.base import UserError
from engines.speech.official import Sgmse
from engines.speech.settings import SgmseSettings
from engines.speech.small import BridgeNet, SmallStorm
from engines.speech.train import PredictiveRecipe, speech_loss
from engines.speech.train_bridge import BridgeRecipe, SgmseRecipe
from engines.speech.train_ncsnpp import NcsnppRecipe
from engines.training.loop import train
from engines.training.sounds import RATE, noise, read_mono, speech
from engines.weights import load, read_model

SIZE = {"widths": (4, 4, 4, 8), "blocks": (1, 1, 1, 1), "batch": 2, "seconds": 0.5, "held": 1}


def _voice(seconds: float, hiss: float = 0.0) -> NDArray[np.float64]:
    """Syllables of a buzz with pauses between them, over hiss."""
    time = np.arange(int(seconds * RATE)) / RATE
    buzz = sum(np.sin(2 * np.pi * 140.0 * n * time) / n for n in range(1, 12))
    gate = np.clip(3.0 * np.sin(2 * np.pi * 1.5 * time), 0.0, 1.0)
    return 0.2 * buzz * gate + hiss * np.random.default_rng(0).standard_normal(len(time))


def _folder(path: Path) -> Path:
    for place, wave, rate in (
        ("speech/anna", _voice(3.0), RATE),
        ("speech/boris", _voice(2.5), 2 * RATE),
        ("speech/hissing", _voice(4.0, hiss=0.5), RATE),
        ("noise/fan", 0.1 * np.random.default_rng(1).standard_normal(2 * RATE), RATE),
    ):
        folder = path / place
        folder.mkdir(parents=True)
        for number in range(3):
            soundfile.write(folder / f"{number}.wav", wave, rate)
    (path / "speech/anna/broken.wav").write_text("no sound at all")
    return path


def test_a_folder_of_ones_own_is_brought_to_one_form(tmp_path: Path) -> None:
    data = _folder(tmp_path / "mine")
    found = speech(tmp_path / "cache", data)
    assert set(found.groups) == {"anna", "boris"}  # a noisy recording is no target
    assert len(found.groups["anna"]) == 3
    assert found.seconds()["boris"] == pytest.approx(3 * 1.25, rel=0.1)  # read at its own rate
    levels = [np.abs(wave).max() for waves in found.groups.values() for wave in waves]
    assert min(levels) > 2000
    assert set(noise(tmp_path / "cache", data).groups) == {"fan"}


def test_the_cache_is_used_until_the_folder_changes(tmp_path: Path) -> None:
    data = _folder(tmp_path / "mine")
    speech(tmp_path / "cache", data)
    (kept,) = (tmp_path / "cache").glob("speech-*.npz")
    stamp = kept.stat().st_mtime_ns
    speech(tmp_path / "cache", data)
    assert kept.stat().st_mtime_ns == stamp
    soundfile.write(data / "speech/anna/another.wav", _voice(2.0), RATE)
    assert len(speech(tmp_path / "cache", data).groups["anna"]) == 4


def test_a_folder_without_sound_is_said(tmp_path: Path) -> None:
    (tmp_path / "mine/speech").mkdir(parents=True)
    with pytest.raises(UserError, match="no sound to train on"):
        speech(tmp_path / "cache", tmp_path / "mine")


def test_what_is_no_sound_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_text("no sound")
    with pytest.raises(UserError, match=r"a\.wav"):
        read_mono(tmp_path / "a.wav")


def test_what_is_reserved_for_measuring_is_never_read(tmp_path: Path) -> None:
    data = _folder(tmp_path / "mine")
    soundfile.write(data / "speech/anna/vm-hello.wav", _voice(2.0), RATE)
    soundfile.write(data / "noise/fan/vinyl_hiss.flac", _voice(2.0), RATE)
    assert len(speech(tmp_path / "cache", data).groups["anna"]) == 3
    assert len(noise(tmp_path / "cache", data).groups["fan"]) == 3


def test_the_recipes_run_one_after_the_other(tmp_path: Path) -> None:
    data = _folder(tmp_path / "mine")
    first = PredictiveRecipe("first", "first", **SIZE)  # type: ignore[arg-type]
    first.config = replace(first.config, steps=3)
    second = BridgeRecipe("second", "second", first, note="a test")
    second.config = replace(second.config, steps=3)
    with pytest.raises(UserError, match="Train first first"):
        train(second, folder=tmp_path, data=data)
    one = train(first, folder=tmp_path, data=data)
    assert one.steps == 3
    two = train(second, folder=tmp_path, data=data)
    network = load(read_model(two.weights, "mine", "yours"), "cpu").network
    assert isinstance(network, SmallStorm)
    assert network.refiner is not None
    assert np.isfinite(list(two.figures.values())).all()
    third = SgmseRecipe("third", "third", second, note="a test")
    third.config = replace(third.config, steps=1)
    three = train(third, folder=tmp_path, data=data)
    assert isinstance(load(read_model(three.weights, "mine", "yours"), "cpu").network, BridgeNet)
    # The predictor is frozen while the refiner learns.
    begun = load(read_model(one.weights, "mine", "yours"), "cpu").network
    ours = network.denoiser.state_dict()
    for name, value in begun.denoiser.state_dict().items():  # type: ignore[union-attr]
        assert value.equal(ours[name])
    begins_as = SmallStorm((4, 4, 4, 8), (1, 1, 1, 1))
    begins_as.denoiser.load_state_dict(ours)
    assert begins_as.refiner is not None
    begins_as.refiner.begin_as(begins_as.denoiser)
    moved = network.refiner.state_dict()
    assert any(not v.equal(moved[n]) for n, v in begins_as.refiner.state_dict().items())


def test_the_loss_falls_towards_the_target() -> None:
    import torch

    clean = torch.from_numpy(_voice(1.0)[None].astype(np.float32))
    hiss = 0.1 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    losses = [
        float(speech_loss(clean + share * hiss, clean, clean + hiss)) for share in (1.0, 0.3, 0.0)
    ]
    assert losses == sorted(losses, reverse=True)


@pytest.mark.parametrize("kind", ["sbve", "ouve"])
def test_ncsnpp_trains_and_its_file_is_used_as_any_other(tmp_path: Path, kind: str) -> None:
    settings = SgmseSettings.model_validate(
        {
            "network": {
                "nf": 4,
                "ch_mult": (1, 1, 1, 1),  # attention at the bottom sees few bins
                "num_res_blocks": 1,
                "attention": (),
                "backbone": "ncsnpp_v2" if kind == "sbve" else "ncsnpp",
            },
            "process": {"kind": kind},
            "objective": {"loss": "data_prediction" if kind == "sbve" else "score_matching"},
        }
    )
    recipe = NcsnppRecipe("tiny", "tiny", settings, batch=1, held=1, note="a test")
    recipe.config = replace(recipe.config, steps=2)
    report = train(recipe, folder=tmp_path, data=_folder(tmp_path / "mine"))
    network = load(read_model(report.weights, "mine", "yours"), "cpu").network
    assert isinstance(network, Sgmse)
    assert network.predicts_clean == (kind == "sbve")
    assert np.isfinite(list(report.figures.values())).all()
