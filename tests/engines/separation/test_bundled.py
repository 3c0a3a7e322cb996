"""The weights that ship understand what is asked, on sounds that are made here."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from engines.separation.model import Separator
from engines.separation.query.table import TableEncoder
from engines.separation.recipe import STFT
from engines.training.labelled.made import make
from engines.weights import bundled, load

RATE = 16_000
PAIRS = [("rain", "siren"), ("static", "bell"), ("ticking", "hum"), ("morse", "engine")]
SPOKEN = {
    "rain": "heavy rain on the roof",
    "siren": "a police siren",
    "static": "radio static",
    "bell": "church bells ringing",
    "ticking": "the ticking of a clock",
    "hum": "electrical hum",
    "morse": "morse code",
    "engine": "car engine",
}


@pytest.fixture(scope="module")
def separator() -> Separator:
    [file] = [one for one in bundled() if one.id == "clipsep-small"]
    return Separator.of(load(file, "cpu"))


def sound(name: str, seed: int) -> Tensor:
    """(65 280,) at -26 dBFS, of another random seed than the training's."""
    wave = make(name, np.random.default_rng(10_000 + seed), 255 * 256)
    found = torch.from_numpy(np.ascontiguousarray(wave, dtype=np.float32))
    return found * (0.05 / found.square().mean().sqrt())


def si_sdr(target: Tensor, made: Tensor) -> float:
    own = target * (made @ target / (target @ target))
    return float(10.0 * (own.square().sum() / (made - own).square().sum()).log10())


def gains(separator: Separator, texts: list[str], sources: list[Tensor]) -> list[float]:
    whole = torch.stack(sources).sum(dim=0)
    spectrum = STFT.forward(whole)
    masks = separator.masks(spectrum.abs()[None], TableEncoder().text(texts)).query[:, 0]
    waves = STFT.inverse(masks * spectrum, len(whole))
    return [
        si_sdr(source, wave) - si_sdr(source, whole)
        for source, wave in zip(sources, waves, strict=True)
    ]


def test_it_takes_apart_what_it_is_asked_for(separator: Separator) -> None:
    found: list[float] = []
    for place, pair in enumerate(PAIRS):
        sources = [sound(name, place) for name in pair]
        found += gains(separator, [SPOKEN[name] for name in pair], sources)
    assert np.median(found) > 5.0, found
    assert min(found) > 0.0, found


def test_other_words_ask_for_the_same(separator: Separator) -> None:
    sources = [sound("rain", 7), sound("siren", 7)]
    named = gains(separator, ["rain", "siren"], sources)
    other = gains(separator, ["rainfall", "emergency siren"], sources)
    assert np.mean(other) > np.mean(named) - 2.0


def test_what_is_not_there_gets_little(separator: Separator) -> None:
    whole = sound("rain", 3) + sound("bell", 3)
    spectrum = STFT.forward(whole)
    texts = ["rain", "church bell", "dog barking", "man speaking"]
    masks = separator.masks(spectrum.abs()[None], TableEncoder().text(texts)).query[:, 0]
    power = spectrum.abs().square()
    rain, bell, dog, man = ((masks.square() * power).sum(dim=(1, 2)) / power.sum()).tolist()
    assert min(rain, bell) > 2.0 * max(dog, man)


def test_it_knows_forty_words_and_more(separator: Separator) -> None:
    assert separator.encoder == "minilm"
    assert separator.heads
    assert len(separator.words) == len(separator.known) >= 40
    assert {"piano", "violin", "dog", "rain"} <= set(separator.words)
