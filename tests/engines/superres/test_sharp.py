"""The diffusion engines on whole pictures, with small networks of random weights."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pixel_shuffle

from engines.base import Cancelled, Result, UserError
from engines.registry import engine_class
from engines.superres.ediffsr.choose import EdiffsrUpscaler
from engines.superres.ediffsr.choose import choose as choose_ediffsr
from engines.superres.ediffsr.eanet import EaNet
from engines.superres.ediffsr.params import EdiffsrParams
from engines.superres.ensemble import Ensemble
from engines.superres.fast import FastNet
from engines.superres.meter import Meter
from engines.superres.rows import Levels
from engines.superres.stepwise import Walk
from engines.superres.upscaler import Tiling
from engines.superres.upsr.atd import Atd
from engines.superres.upsr.estimate import FastUpscaler
from engines.superres.upsr.params import UpsrParams
from engines.superres.upsr.sampler import SCHEDULE
from engines.superres.upsr.sharp import SharpUpscaler, sharp
from engines.superres.upsr.unet import UpsrUnet
from engines.superres.upsr.unsure import Unsure
from tests.engines.superres.helpers import QuietJob, Rows, opened, photo, save


def unet() -> UpsrUnet:
    network = UpsrUnet(16, 32, (1, 2), 1, 2, 32, 16, 8, 2, 8, anchored=True)
    network.initialise(torch.Generator().manual_seed(1))
    torch.manual_seed(1)
    nn.init.normal_(network.conv_last.weight, std=0.1)
    return network


class Echo(UpsrUnet):
    """Gives back what it sees of x, so that the result shows the noise, pixel by pixel."""

    def forward(self, x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        return 0.3 * pixel_shuffle(x, 4)


def eanet() -> EaNet:
    torch.manual_seed(2)
    network = EaNet(16, (1, 1), 1, (1, 1), anchored=True)
    nn.init.normal_(network.ending.weight, std=0.05)
    return network


def fast(scale: int = 4) -> FastNet:
    torch.manual_seed(3)
    return FastNet(scale, channels=8, blocks=2)


class DiffusionJob(QuietJob):
    """Its diffusions are small, and named networks come with a card and a state."""

    cards: dict[str, dict[str, Any]] = {  # noqa: RUF012
        "upsr-small": {"regressor": "fast-x4-photo"},
        "ediffsr-small": {"mean": "fast-x4"},
    }

    def load(self, model_id: str) -> Any:
        self.asked.append(model_id)
        network: nn.Module
        if model_id.startswith("upsr"):
            network = unet()
        elif model_id.startswith("ediffsr"):
            network = eanet()
        elif model_id == "atd":
            torch.manual_seed(5)
            network = Atd(4, 16, (1,), (2,), 8, 32, 16, 4, 5, 1)
        else:
            network = fast(2 if "x2" in model_id else 4)
        network.eval().requires_grad_(requires_grad=False)
        state = "official" if "official" in model_id else "bundled"
        card = self.cards.get(model_id, {})
        file = SimpleNamespace(id=model_id, sha256="0" * 64, card=card, state=state)
        return SimpleNamespace(file=file, network=network)


def run(
    engine: str, path: Path, folder: Path, origin: tuple[int, int] = (0, 0), **more: Any
) -> Any:
    kind: Any = engine_class(engine)
    job = DiffusionJob(folder)
    return kind().run([path], kind.Params(**more), job, origin)


def picture(outcome: Result) -> np.ndarray:
    return opened(outcome.outputs[0].path).astype(int)


SETTINGS: dict[str, dict[str, Any]] = {
    "superres.upsr": {"mode": "sharp"},
    "superres.ediffsr": {"steps": 3},
}


@pytest.mark.parametrize("engine", SETTINGS)
def test_the_same_seed_gives_the_same_picture(engine: str, tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", photo(40, 50))
    for number, steps in enumerate((1, 5)):
        more = SETTINGS[engine] | {"steps": steps, "colour": "off"}
        one, two, other = (
            picture(run(engine, path, tmp_path / f"{number}{name}", seed=seed, **more))
            for name, seed in (("a", 7), ("b", 7), ("c", 8))
        )
        assert one.shape == (160, 200, 3)
        assert np.array_equal(one, two)
        assert not np.array_equal(one, other)


@pytest.mark.parametrize("engine", SETTINGS)
@pytest.mark.parametrize("size", [(1, 1), (3, 70), (33, 20)])
def test_small_and_narrow_pictures(engine: str, size: tuple[int, int], tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", photo(*size))
    for scale in (1.0, 3.0):
        outcome = run(engine, path, tmp_path / str(scale), scale=scale, **SETTINGS[engine])
        assert picture(outcome).shape == (int(size[0] * scale), int(size[1] * scale), 3)


@pytest.mark.parametrize("engine", SETTINGS)
def test_grey_stays_grey_and_colours_are_held(engine: str, tmp_path: Path) -> None:
    grey = save(tmp_path / "g.png", photo(24, 24, 1))
    assert picture(run(engine, grey, tmp_path / "g", **SETTINGS[engine])).shape == (96, 96)
    flat = np.zeros((32, 32, 3), np.uint8) + np.array([110, 120, 135], np.uint8)
    path = save(tmp_path / "f.png", flat)
    away: dict[str, float] = {}
    for colour in ("auto", "off"):
        folder = tmp_path / colour
        found = picture(run(engine, path, folder, colour=colour, **SETTINGS[engine]))
        away[colour] = float(np.abs(found.mean(axis=(0, 1)) - flat[0, 0]).max())
    assert away["auto"] < 1.0
    assert away["auto"] < away["off"]


@pytest.mark.parametrize("engine", SETTINGS)
def test_a_stop_in_the_middle_of_sampling(engine: str, tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", photo(24, 24))
    kind: Any = engine_class(engine)
    params = kind.Params(**(SETTINGS[engine] | {"steps": 5}))
    counting = DiffusionJob(tmp_path / "count")
    stopped: list[int] = []

    class Stops(DiffusionJob):
        """Asked to stop once the second step is told of."""

        def check_cancelled(self) -> None:
            if any("step 2 of 5" in text for _, _, text in self.reports):
                stopped.append(1)
                raise Cancelled

    kind().run([path], params, counting)
    assert any("step 5 of 5" in text for _, _, text in counting.reports)
    job = Stops(tmp_path / "w")
    with pytest.raises(Cancelled):
        kind().run([path], params, job)
    assert stopped
    assert not any("step 3 of 5" in text for _, _, text in job.reports)
    assert not [one for one in (tmp_path / "w").iterdir() if one.suffix == ".png"]


class Still:
    def check(self) -> None: ...

    def step(self, done: int, total: int) -> None: ...


@pytest.mark.parametrize("name", ["upsr", "ediffsr"])
def test_noise_belongs_to_the_place_and_not_to_the_tile(name: str) -> None:
    class Local(EaNet):
        def clean(self, x: Tensor, mean: Tensor, t: Tensor) -> Tensor:
            return 0.5 * x + 0.25 * mean

    if name == "upsr":
        network = Echo(16, 32, (1, 2), 1, 2, 32, 16, 8, 2, 8)
        upscaler: Any = SharpUpscaler(network, FastUpscaler(fast()), SCHEDULE, 4, Still(), Unsure())
    else:
        upscaler = EdiffsrUpscaler(Local(16, (1,), 1, (1,)), None, "posterior", 4, 4, Still())
    torch.manual_seed(9)
    whole = 0.4 + 0.2 * torch.rand(1, 3, 48, 48)
    with torch.no_grad():
        first = upscaler.upscale(whole[..., :32, :32], (0, 0), full=True)
        second = upscaler.upscale(whole[..., 16:, 16:], (16, 16), full=True)
        moved = upscaler.upscale(whole[..., 16:, 16:], (80, 16), full=True)
    # Away from the edges, where the estimate has its surroundings.
    one, two, three = (
        first[..., 96:104, 96:104],
        second[..., 32:40, 32:40],
        moved[..., 32:40, 32:40],
    )
    assert torch.allclose(one, two, atol=1e-5)
    assert float((one - three).abs().mean()) > 0.01


def test_the_uncertainty_map_is_bright_where_the_estimate_is_unsure(tmp_path: Path) -> None:
    unsure = Unsure()
    weight = torch.full((1, 3, 32, 32), 0.4)
    weight[..., :16] = 1.0
    unsure.add((50, 20), weight)
    unsure.add((50, 28), torch.full((1, 3, 32, 32), 0.4))
    (figure,) = unsure.figures(tmp_path, "a", (8, 13))
    assert figure.alt.endswith("31 %")
    shown = opened(figure.path).astype(int).sum(axis=2)
    assert shown.shape == (8, 13)
    assert shown[:, :4].min() > shown[:, 4:].max() + 300
    assert Unsure().figures(tmp_path, "b", (8, 13)) == ()


def test_sharp_draws_the_map_and_fast_does_not(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", photo(24, 40))
    outcome = run("superres.upsr", path, tmp_path / "s", mode="sharp", scale=2.0, source="photo")
    (figure,) = outcome.figures
    assert opened(figure.path).shape[:2] == (24, 40)
    assert "upsr-sharp" in outcome.outputs[0].path.name
    assert set(outcome.models) == {"upsr-small", "fast-x4-photo"}
    assert run("superres.upsr", path, tmp_path / "f", mode="fast").figures == ()


@pytest.mark.parametrize(
    ("more", "asked"),
    [
        ({"source": "photo"}, ["upsr-small", "fast-x4-photo"]),
        ({"source": "clean"}, ["upsr-small", "fast-x4"]),
        ({"regressor": "atd"}, ["upsr-small", "atd"]),
        ({"weights": "upsr-official", "regressor": "atd"}, ["upsr-official", "atd"]),
    ],
)
def test_which_networks_the_diffusion_takes(
    more: dict[str, Any], asked: list[str], tmp_path: Path
) -> None:
    job = DiffusionJob(tmp_path / "w")
    method = sharp(UpsrParams(mode="sharp", **more), job, 4.0, Still())
    assert job.asked == asked
    assert [stage.scale for stage in method.stages] == [4]
    assert method.generative
    official = "upsr-official" in asked
    assert [note for note in method.notes if "megapixel" in note and "5 min" in note] == list(
        method.notes
    )
    assert len(method.notes) == (1 if official else 0)
    assert any("5 min" in text for _, _, text in job.reports) == official


def test_beyond_four_times_clean_estimates_follow(tmp_path: Path) -> None:
    job = DiffusionJob(tmp_path / "w")
    method = sharp(UpsrParams(mode="sharp", source="photo"), job, 8.0, Still())
    assert [stage.scale for stage in method.stages] == [4, 2]
    assert job.asked == ["upsr-small", "fast-x4-photo", "fast-x2"]


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"weights": "fast-x4"}, "fast-x4 are no diffusion of UPSR"),
        ({"weights": "upsr-official"}, "start from the authors' regressor"),
        ({"regressor": "upsr-small"}, "upsr-small are no estimator of UPSR"),
        ({"regressor": "fast-x2"}, "give 2 times"),
    ],
)
def test_weights_that_do_not_fit(more: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=sentence):
        sharp(UpsrParams(mode="sharp", **more), DiffusionJob(tmp_path / "w"), 4.0, Still())


def test_ediffsr_takes_the_mean_that_its_card_names(tmp_path: Path) -> None:
    job = DiffusionJob(tmp_path / "w")
    choose_ediffsr(EdiffsrParams(), job, 4.0, Still())
    assert job.asked == ["ediffsr-small", "fast-x4"]
    job = DiffusionJob(tmp_path / "w")
    method = choose_ediffsr(
        EdiffsrParams(weights="ediffsr-official", sampler="paper"), job, 4.0, Still()
    )
    assert job.asked == ["ediffsr-official"]
    assert "1 h 25 min" in method.notes[0]
    with pytest.raises(UserError, match="100 steps"):
        choose_ediffsr(EdiffsrParams(sampler="paper", steps=10), job, 4.0, Still())
    with pytest.raises(UserError, match="none of EDiffSR"):
        choose_ediffsr(EdiffsrParams(weights="fast-x4"), job, 4.0, Still())


@pytest.mark.parametrize("engine", SETTINGS)
def test_pictures_of_many_tiles(engine: str, tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", photo(70, 130, 1))
    one, two = (
        picture(run(engine, path, tmp_path / f"{seed}", tile=64, seed=seed, **SETTINGS[engine]))
        for seed in (0, 1)
    )
    assert one.shape == (280, 520)
    assert not np.array_equal(one, two)
    assert not list((tmp_path / "a").glob(".*"))


@pytest.mark.parametrize("kind", ["posterior", "ode"])
def test_ediffsr_shows_the_network_tiles_of_its_training(kind: Any, tmp_path: Path) -> None:
    class Local(EaNet):
        """Its picture depends on each pixel alone, so that tiles must add up to the whole."""

        sizes: set[tuple[int, ...]] = set()  # noqa: RUF012

        def clean(self, x: Tensor, mean: Tensor, t: Tensor) -> Tensor:
            self.sizes.add(tuple(x.shape[-2:]))
            return 0.5 * x + 0.25 * mean

    upscaler = EdiffsrUpscaler(Local(16, (1,), 1, (1,)), None, kind, 3, 1, Still())
    pixels, sink, job = photo(96, 80), Rows(), QuietJob(tmp_path)
    source = Levels(pixels, 255.0)
    meter = Meter(job, 0, 100)
    Walk(source, upscaler, 200, lambda name: tmp_path / name, meter, "cpu", "a", (5, 9)).run(sink)
    assert Local.sizes == {(256, 256)}
    whole = upscaler.upscale(source.window(0, 96, 0, 80)[None], (5, 9), full=True)
    # At its edges the cubic picture is a matter of what lies beyond: mirrored, or nothing.
    apart = (sink.picture - whole[0].clamp(0.0, 1.0))[:, 12:-12, 12:-12]
    assert float(apart.abs().max()) < 2e-3


@pytest.mark.parametrize(
    ("weights", "source", "steps"),
    [("upsr-small", "clean", 2), ("upsr-small", "photo", 5), ("upsr-official", "clean", 5)],
)
def test_our_weights_leave_alone_what_the_estimate_is_sure_of(
    weights: str, source: Any, steps: int, tmp_path: Path
) -> None:
    flat = torch.full((1, 3, 16, 16), 0.5)
    flat[..., 9:] = 0.9
    job = DiffusionJob(tmp_path)

    def drawn(**more: Any) -> tuple[Tensor, Tensor]:
        params = UpsrParams(mode="sharp", weights=weights, source=source, **more)
        (stage,) = sharp(params.model_copy(update={"regressor": "fast"}), job, 4.0, Still()).stages
        assert isinstance(stage, SharpUpscaler)
        assert stage.count == steps
        stage.first = Cubic()
        with torch.no_grad():
            changed = (stage.upscale(flat, (0, 0), full=True) - stage.first.upscale(flat)).abs()
        return changed[..., :20].max(), changed[..., 32:40].max()

    sure, edge = drawn()
    assert edge > 0.01
    assert bool(sure < 1e-6) == (weights == "upsr-small")
    assert drawn(draw="unsure")[0] < 1e-6
    assert drawn(draw="everywhere")[0] > 0.01


class Cubic:
    """A regressor that agrees with the cubic picture but at an edge."""

    scale = 4
    tiling = Tiling(halo=4)

    def upscale(self, lr: Tensor, place: tuple[int, int] = (0, 0), full: bool = False) -> Tensor:
        large = interpolate(lr, scale_factor=4.0, mode="bicubic", align_corners=False)
        large[..., 32:40] += 0.2
        return large


def test_eight_views_are_averaged(tmp_path: Path) -> None:
    class Leaning:
        """Adds what grows to the right and the foot of what it sees."""

        scale = 2
        tiling = Tiling(halo=0, tile=32)

        def upscale(self, lr: Tensor, place: tuple[int, int], full: bool = False) -> Tensor:
            large = lr.repeat_interleave(2, 2).repeat_interleave(2, 3)
            across = torch.linspace(-0.1, 0.1, large.shape[3])
            return large + across + 3.0 * torch.linspace(-0.1, 0.1, large.shape[2])[:, None]

    lr = torch.rand(1, 3, 5, 9)
    found = Ensemble(Leaning(), Still()).upscale(lr, (0, 0))
    assert torch.allclose(found, lr.repeat_interleave(2, 2).repeat_interleave(2, 3), atol=1e-5)
    path = save(tmp_path / "a.png", photo(20, 30))
    plain, mean = (
        picture(run("superres.upsr", path, tmp_path / str(on), ensemble=on)) for on in (False, True)
    )
    assert 0 < np.abs(plain - mean).mean() < 20
