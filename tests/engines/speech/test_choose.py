"""Modes of every kind of weights: how often a network is asked, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from engines.base import UserError
from engines.speech import train
from engines.speech.choose import SMALL_TRANSFORM, choose
from engines.speech.model import SpectralModel
from engines.speech.official import Sgmse, Storm
from engines.speech.params import SgmseParams, StormParams
from engines.speech.settings import (
    Objective,
    Process,
    Sampling,
    SgmseSettings,
    Signal,
    Size,
    StormSettings,
)
from engines.speech.small import BridgeNet, SmallStorm
from engines.weights import LoadedModel, ModelFile
from tests.engines.speech.make_sound import hiss, meter, voice

TINY: dict[str, Any] = {"nf": 8, "ch_mult": (1, 1), "num_res_blocks": 1, "attention": ()}
SIGNAL = Signal(rate=16_000, n_fft=62, hop=16, frames=8)
SAMPLING = Sampling(steps=6)


def loaded(network: nn.Module) -> LoadedModel:
    file = ModelFile("mine", "speech", "yours", "", "", "", Path("x"), "0" * 64, 1, {})
    return LoadedModel(file, network.eval().requires_grad_(False))


def drawn(network: Any) -> Any:
    """The same network with small random weights."""
    torch.manual_seed(0)
    with torch.no_grad():
        for weights in network.parameters():
            weights.normal_(0.0, 0.05)
    return network


def storm(denoiser: bool = True, score: bool = True) -> Storm:
    made = Storm(
        StormSettings(
            denoiser=Size(**TINY, spectra=1, centred=False, conditional=False)
            if denoiser
            else None,
            score=Size(**TINY, spectra=3, centred=False) if score else None,
            signal=SIGNAL,
            sampling=SAMPLING,
        )
    )
    return drawn(made)


def sgmse(bridges: bool) -> Sgmse:
    made = Sgmse(
        SgmseSettings(
            network=Size(**TINY, backbone="ncsnpp_v2" if bridges else "ncsnpp"),
            signal=SIGNAL,
            process=Process(kind="sbve" if bridges else "ouve"),
            objective=Objective(loss="data_prediction" if bridges else "score_matching"),
            sampling=SAMPLING,
        )
    )
    return drawn(made)


def calls(model: SpectralModel) -> int:
    """Run a short sound through; the calls that were made, which must be those announced."""
    length = 6_000 // model.hop * model.hop
    wave = torch.from_numpy(voice(1.0, 16_000)[None, :length] + hiss(length, 0.02))
    watch = meter()
    out = model.enhance(wave, [0], watch)
    assert out.wave.shape == wave.shape
    assert bool(torch.isfinite(out.wave).all())
    assert (out.predicted is not None) == (model.predict is not None and model.sample is not None)
    assert watch.calls == model.calls
    return watch.calls


@pytest.mark.parametrize(
    ("mode", "params", "expected"),
    [
        ("fast", {}, 1),
        ("natural", {}, 10),
        ("natural", {"steps": 4, "sampler": "ode"}, 5),
        ("best", {}, 13),
        ("best", {"corrector": "none"}, 7),
        ("best", {"sampler": "sde", "steps": 3}, 4),
    ],
)
def test_official_storm(mode: str, params: dict[str, Any], expected: int) -> None:
    model = choose(loaded(storm()), StormParams(mode=mode, **params), "cpu")  # type: ignore[arg-type]
    assert (model.rate, model.level) == (16_000, "peak")
    assert calls(model) == expected


@pytest.mark.parametrize("bridges", [False, True])
@pytest.mark.parametrize(("mode", "most"), [("fast", 5), ("natural", 10), ("best", 12)])
def test_official_sgmse(bridges: bool, mode: str, most: int) -> None:
    model = choose(loaded(sgmse(bridges)), SgmseParams(mode=mode), "cpu")  # type: ignore[arg-type]
    assert 1 < calls(model) <= most
    assert model.regenerates


def test_small_networks() -> None:
    small = SmallStorm([8] * 5, [1] * 5)
    made = {
        mode: calls(choose(loaded(small), StormParams(mode=mode), "cpu"))  # type: ignore[arg-type]
        for mode in ("fast", "natural", "best")
    }
    assert made == {"fast": 1, "natural": 6, "best": 11}
    alone = BridgeNet([8] * 5, [1] * 5)
    made = {
        mode: calls(choose(loaded(alone), SgmseParams(mode=mode), "cpu"))  # type: ignore[arg-type]
        for mode in ("fast", "natural", "best")
    }
    assert made == {"fast": 2, "natural": 5, "best": 10}


def test_small_networks_hear_what_they_were_trained_on() -> None:
    wave = torch.from_numpy(voice(1.0, 16_000)[None])
    ours = SMALL_TRANSFORM.forward(wave)
    theirs = train.compress(train.STFT.forward(wave), train.EXPONENT, train.FACTOR)
    assert torch.equal(ours, theirs)


class Room(SmallStorm):
    """Keeps a tenth without the room, half with it, and tells by the token which was asked."""

    def __init__(self) -> None:
        super().__init__([8] * 5, [1] * 5)

        class Token(nn.Module):
            def forward(self, y: torch.Tensor, dry: torch.Tensor) -> torch.Tensor:
                kept = torch.where(dry > 0.5, 0.1, 0.5).sqrt()
                return y * kept[:, None, None]

        self.denoiser = Token()  # type: ignore[assignment]


@pytest.mark.parametrize(("task", "kept"), [("denoise", 0.5), ("both", 0.1), ("dereverb", 0.6)])
def test_tasks(task: str, kept: float) -> None:
    model = choose(loaded(Room()), StormParams(task=task), "cpu")  # type: ignore[arg-type]
    wave = torch.from_numpy(voice(1.0, 16_000)[None, : 256 * 60])
    out = model.enhance(wave, [0], meter()).wave
    assert np.allclose(out.numpy(), kept * wave.numpy(), atol=1e-4)


@pytest.mark.parametrize(
    ("network", "params", "says"),
    [
        (storm(denoiser=False), {}, "no predictive part; choose Natural or Best"),
        (storm(score=False), {"mode": "best"}, "predict only; choose the mode Fast"),
        (storm(), {"task": "dereverb"}, "not trained to take out the sound of the room"),
        (storm(), {"task": "both"}, "not trained to take out both"),
        (sgmse(True), {"mode": "best", "sampler": "predictor-corrector"}, "ODE or SDE"),
        (nn.Linear(1, 1), {}, "of no speech network"),
    ],
)
def test_refusals(network: nn.Module, params: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        choose(loaded(network), StormParams(**params), "cpu")
