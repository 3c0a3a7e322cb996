"""Weights that are added, listed, checked and taken away; loaded networks that are kept."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from db.database import close_database, open_database
from engines import weights
from engines.base import UserError
from engines.raw.yond.arch import GuidedResUnet
from studio.config import Settings
from studio.jobs.perform import ModelCache
from studio.models import Models

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write a small SNR-Net checkpoint with weights of its own."""

    def write(name: str = "mine.pth", nf: int = 4, seed: int = 7) -> Path:
        network = GuidedResUnet(nf, 2, False)
        network.initialise(torch.Generator().manual_seed(seed))
        file = tmp_path / name
        torch.save({"params": network.state_dict()}, file)
        return file

    return write


@pytest.fixture
def models(settings: Settings) -> Iterator[Models]:
    factory = open_database(settings.url)
    yield Models(settings, factory)
    close_database(factory)


def _added(models: Models) -> list[str]:
    return [file.id for file in models.list() if file.state != "bundled"]


def test_added_weights_are_listed_checked_and_used(models: Models, make: Make) -> None:
    source = make()
    before = source.read_bytes()
    file = models.add(source)
    assert (file.id, file.network, file.state) == ("mine", "raw.yond/snrnet", "yours")
    assert file.sha256 == weights.sha256_of(file.path)
    assert [one for one in models.list("raw.yond/snrnet") if one.id == "mine"] == [file]
    assert "mine" in [one.id for one in models.list("raw.yond")]
    assert "mine" not in [one.id for one in models.list("another/network")]
    assert dict(models.check())["mine"] == ""
    network = weights.load(file, "cpu").network
    assert network(torch.zeros(1, 4, 16, 16), torch.tensor([0.1])).shape == (1, 4, 16, 16)
    assert source.read_bytes() == before


def test_two_of_one_name_are_told_apart(models: Models, make: Make, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    first = models.add(make())
    second = models.add(make(seed=8).rename(tmp_path / "other" / "mine.pth"))
    third = models.add(make(seed=9), name="Über ../mine")
    assert [file.id for file in (first, second, third)] == ["mine", "mine-2", "ber-..-mine"]
    assert len({file.sha256 for file in (first, second, third)}) == 3
    assert {file.path.parent for file in (first, second, third)} == {first.path.parent}


def test_they_are_there_after_a_restart(settings: Settings, make: Make) -> None:
    for _ in range(2):
        factory = open_database(settings.url)
        models = Models(settings, factory)
        if not _added(models):
            models.add(make())
        assert _added(models) == ["mine"]
        close_database(factory)


def test_removed_weights_leave_nothing(models: Models, make: Make, settings: Settings) -> None:
    source = make()
    models.add(source)
    models.add(make("mine.b.pth"))
    models.remove("mine")
    assert _added(models) == ["mine.b"]
    assert {path.name for path in settings.models.iterdir()} == {
        "mine.b.safetensors",
        "mine.b.json",
    }
    assert source.is_file()
    with pytest.raises(UserError, match=r"^There are no weights called mine; `models` lists them$"):
        models.remove("mine")


def test_what_ships_stays(
    models: Models, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    monkeypatch.setattr(weights, "BUNDLED", shipped)
    weights.convert(make(), shipped / "small.safetensors")
    assert [(file.id, file.state) for file in models.list()] == [("small", "bundled")]
    with pytest.raises(UserError, match=r"^small ships with the studio and stays"):
        models.remove("small")
    assert models.add(make(seed=8), name="small").id == "small-2"
    assert dict(models.check()) == {"small": "", "small-2": ""}


def test_damaged_weights_are_named_and_hinder_nobody(models: Models, make: Make) -> None:
    changed, broken, gone, good = (
        models.add(make(f"{name}.pth", seed=seed))
        for seed, name in enumerate(("changed", "broken", "gone", "good"))
    )
    content = bytearray(changed.path.read_bytes())
    content[-1] ^= 1
    changed.path.write_bytes(content)
    broken.path.write_text("not weights any more")
    gone.path.unlink()
    found = dict(models.check())
    assert found["changed"] == found["broken"] == "the file was changed; add it again"
    assert found["gone"] == "the file is gone; add it again"
    assert found["good"] == ""
    assert _added(models) == ["changed", "good"]
    assert next(file for file in models.list() if file.id == "changed").sha256 != changed.sha256
    assert models.add(make("gone.pth")).id == "gone"
    assert dict(models.check())["gone"] == ""
    assert good in models.list()


def test_what_cannot_be_used_is_refused_and_not_kept(
    models: Models, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "text.pth").write_text("hello")
    save_file({"other": torch.zeros(2)}, tmp_path / "other.safetensors")
    for source, sentence in (
        (tmp_path / "text.pth", "text.pth is not a checkpoint that can be read safely"),
        (tmp_path / "other.safetensors", "other.safetensors fits no network of this studio"),
        (tmp_path / "nowhere.pth", "There is no file nowhere.pth here"),
    ):
        with pytest.raises(UserError, match=f"^{sentence}"):
            models.add(source)
    assert not settings.models.is_dir() or not list(settings.models.iterdir())
    assert _added(models) == []


def test_a_disk_without_room_is_a_sentence_and_leaves_no_half_file(
    models: Models, settings: Settings, make: Make
) -> None:
    source = make(nf=32)
    assert source.stat().st_size > 200_000
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(UserError, match=r"^mine.pth could not be kept in the studio's folder"):
            models.add(source)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(settings.models.iterdir())
    assert models.add(source).id == "mine"


def test_the_card_travels_beside_the_file(models: Models, make: Make) -> None:
    file = models.add(make())
    card = json.loads(file.path.with_suffix(".json").read_text())
    assert card == file.card
    assert card["config"] == {"nf": 4, "levels": 2, "noise_units": False}


def test_loaded_networks_are_kept_until_there_is_no_room(
    models: Models, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, three = (models.add(make(f"{seed}.pth", seed=seed)) for seed in range(3))
    cache = ModelCache()
    first = cache.load(one, "cpu")
    assert cache.load(one, "cpu") is first
    monkeypatch.setattr(cache, "_limit", 2 * one.bytes)
    second = cache.load(two, "cpu")
    assert cache.load(one, "cpu") is first
    cache.load(three, "cpu")  # the one used longest ago goes: two
    assert cache.load(one, "cpu") is first
    assert cache.load(two, "cpu") is not second
    monkeypatch.setattr(cache, "_limit", 0)
    assert cache.load(three, "cpu").file == three  # one is held however large it is
