"""Schedules against the golden constants, samplers against networks that know the answer."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate, pixel_shuffle

from engines.superres.ediffsr.eanet import EaNet
from engines.superres.ediffsr.sampler import Kind, grid
from engines.superres.ediffsr.sampler import sample as draw_ediffsr
from engines.superres.ediffsr.sde import IrSde
from engines.superres.upsr.sampler import SCHEDULE, Given, denoised, sample
from engines.superres.upsr.schedule import Schedule, noise_weight, share_unsure

CONSTANTS: dict[str, Any] = json.loads(
    (Path(__file__).resolve().parents[2] / "data" / "golden" / "superres-diffusions.json")
    .read_text("utf-8")
)  # fmt: skip


def test_upsr_schedule_is_the_official_one() -> None:
    golden = CONSTANTS["upsr"]
    assert SCHEDULE.roots == pytest.approx(golden["sqrt_etas"], rel=1e-12)
    before = [SCHEDULE.eta_before(i) for i in range(5)]
    assert before == pytest.approx(golden["etas_prev"], rel=1e-12)
    assert SCHEDULE.times == (0.0, 1.0, 2.0, 3.0, 4.0)


def test_ir_sde_is_the_official_one() -> None:
    golden, sde = CONSTANTS["irsde"], IrSde()
    assert sde.dt == pytest.approx(golden["dt"], rel=1e-6)
    for name, ours in (
        ("thetas", lambda t: sde.thetas[t]),
        ("sigmas", sde.sigma),
        ("thetas_cumsum", lambda t: sde.sums[t]),
        ("sigma_bars", sde.spread),
    ):
        found = [ours(t) for t in golden["index"]]
        # theirs are float32, and the first thetas are one minus nearly one
        assert found == pytest.approx(golden[name], rel=2e-6, abs=5e-7), name


def test_noise_goes_where_the_estimate_is_unsure() -> None:
    cubic = torch.zeros(4)
    estimate = torch.tensor([0.0, 0.1, -0.2, 1.0])  # in -1..1: half of it counts, up to 0.1
    weight = noise_weight(estimate, cubic)
    assert weight.tolist() == pytest.approx([0.4, 0.7, 1.0, 1.0])
    assert share_unsure(weight).tolist() == pytest.approx([0.0, 0.5, 1.0, 1.0])


def test_the_walk_back_is_the_way_there_without_new_noise() -> None:
    torch.manual_seed(1)
    clean, cubic, noise = (torch.rand(1, 3, 8, 8) for _ in range(3))
    weight = torch.full_like(clean, 0.7)
    for index in range(1, 5):
        there, before = (
            SCHEDULE.forward(clean, cubic, weight, noise, torch.tensor([i]))
            for i in (index, index - 1)
        )
        assert torch.allclose(SCHEDULE.back(there, clean, cubic, index), before, atol=1e-5)
    last = SCHEDULE.forward(clean, cubic, weight, noise, torch.tensor([0]))
    assert torch.equal(SCHEDULE.back(last, clean, cubic, 0), clean)
    start = SCHEDULE.start(cubic, weight, noise)
    assert torch.allclose(start, cubic + 2.5 * 0.99 * 0.7 * noise)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 7, 20])
def test_other_numbers_of_steps_walk_the_same_diffusion(steps: int) -> None:
    schedule = SCHEDULE.of(steps)
    assert schedule.steps == len(schedule.times) == steps
    assert schedule.roots[-1] == SCHEDULE.roots[-1]
    assert schedule.times[-1] == 4.0
    assert list(schedule.roots) == sorted(set(schedule.roots))
    if steps > 1:
        assert schedule.roots[0] == pytest.approx(SCHEDULE.roots[0])
    for root, time in zip(schedule.roots, schedule.times, strict=True):
        low, high = SCHEDULE.roots[math.floor(time)], SCHEDULE.roots[math.ceil(time)]
        assert low <= root * (1 + 1e-9)
        assert root <= high * (1 + 1e-9)
    if steps <= 5:
        assert set(schedule.roots) <= set(SCHEDULE.roots)


class Knows:
    """A network that gives one picture whatever it sees, and remembers what that was."""

    def __init__(self, answer: Tensor) -> None:
        self.answer = answer
        self.seen: list[tuple[tuple[int, ...], float, Tensor]] = []

    def __call__(self, x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        self.seen.append((tuple(x.shape), float(t[0]), condition))
        return self.answer


def test_the_network_sees_the_estimate_then_the_cubic_picture() -> None:
    torch.manual_seed(2)
    low, estimate = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 32, 32)
    given = Given.of(low, estimate)
    knows = Knows(torch.zeros(2, 3, 32, 32))
    done: list[int] = []
    sample(knows, given, torch.randn(2, 3, 32, 32), after=done.append)
    assert done == [1, 2, 3, 4, 5]
    assert [time for _, time, _ in knows.seen] == [4.0, 3.0, 2.0, 1.0, 0.0]
    shape, _, condition = knows.seen[0]
    assert shape == (2, 48, 8, 8)
    assert torch.allclose(pixel_shuffle(condition[:, :48], 4), 2 * estimate - 1, atol=1e-6)
    cubic = interpolate(low, scale_factor=4, mode="bicubic", align_corners=False)
    assert torch.allclose(pixel_shuffle(condition[:, 48:], 4), 2 * cubic - 1, atol=1e-6)


@pytest.mark.parametrize("steps", [1, 2, 5, 9])
def test_upsr_ends_at_what_the_network_says(steps: int) -> None:
    truth = torch.rand(1, 3, 32, 32)
    given = Given.of(torch.rand(1, 3, 8, 8), torch.rand(1, 3, 32, 32))
    knows = Knows(2 * truth - 1)
    out = sample(knows, given, torch.randn_like(truth), schedule=SCHEDULE.of(steps))
    assert len(knows.seen) == steps
    assert torch.allclose(out, truth, atol=1e-6)


def test_x_is_brought_to_one_size_before_the_network() -> None:
    shown: list[Tensor] = []

    def look(x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        shown.append(x)
        return torch.zeros(x.shape[0], 3, 4, 4)

    given = Given.of(torch.rand(5, 3, 1, 1), torch.rand(5, 3, 4, 4))
    denoised(look, torch.ones(5, 3, 4, 4), given, SCHEDULE, torch.arange(5))
    for index, root in enumerate(CONSTANTS["upsr"]["sqrt_etas"]):
        expected = 1 / math.sqrt(0.3 * root**2 * 2.5**2 + 0.25)
        assert torch.allclose(shown[0][index], torch.tensor(expected))


class KnowsClean:
    def __init__(self, answer: Tensor) -> None:
        self.answer = answer
        self.times: list[int] = []

    def clean(self, x: Tensor, mean: Tensor, t: Tensor) -> Tensor:
        self.times.append(int(t[0]))
        return self.answer


@pytest.mark.parametrize("steps", [1, 2, 5, 10, 37, 99, 100])
def test_the_grid_falls_from_the_end_to_the_picture(steps: int) -> None:
    times = grid(IrSde(), steps)
    assert len(times) == steps + 1
    assert (times[0], times[-1]) == (100, 0)
    assert list(times) == sorted(set(times), reverse=True)


@pytest.mark.parametrize("kind", get_args(Kind))
def test_ediffsr_ends_at_what_the_network_says(kind: Kind) -> None:
    sde = IrSde()
    truth, mean = torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16)
    steps = 100 if kind == "paper" else 7
    draws: list[int] = []

    def draw(number: int) -> Tensor:
        draws.append(number)
        return torch.randn(truth.shape, generator=torch.Generator().manual_seed(number))

    knows = KnowsClean(truth)
    done: list[int] = []
    out = draw_ediffsr(knows, sde, mean, draw, times=grid(sde, steps), kind=kind, after=done.append)
    assert done == list(range(1, steps + 1))
    assert knows.times == list(grid(sde, steps)[:-1])
    if kind == "paper":
        # the authors' code draws noise in the last step too
        assert draws == list(range(101))
        left = sde.sigma(1) * math.sqrt(sde.dt)
        assert float((out - truth).std()) == pytest.approx(left, rel=0.25)
    else:
        assert draws == (list(range(7)) if kind == "posterior" else [0])
        assert torch.allclose(out, truth, atol=1e-6)


def test_exact_steps_have_the_right_mean_and_spread_at_every_time() -> None:
    # With the true picture known, x_r drawn from x_t must be distributed as x_r drawn at once.
    sde = IrSde()
    clean, mean = torch.tensor(0.9), torch.tensor(0.3)
    generator = torch.Generator().manual_seed(3)
    for t, r in ((100, 60), (60, 21), (21, 20), (5, 1)):
        noise = torch.randn(40_000, generator=generator)
        x = mean + (clean - mean) * sde.kept(t) + sde.spread(t) * noise
        of_x, of_clean, variance = sde.posterior(t, r)
        back = mean + of_x * (x - mean) + of_clean * (clean - mean)
        back = back + math.sqrt(variance) * torch.randn(40_000, generator=generator)
        expected = float(mean + (clean - mean) * sde.kept(r))
        assert float(back.mean()) == pytest.approx(expected, abs=4 * sde.spread(r) / 200)
        assert float(back.std()) == pytest.approx(sde.spread(r), rel=0.02)


def test_noise_and_picture_say_the_same_of_x() -> None:
    torch.manual_seed(5)
    sde = IrSde()
    clean, mean, noise = (torch.rand(1, 3, 4, 4, dtype=torch.float64) for _ in range(3))
    for t in (1, 40, 100):
        x = mean + (clean - mean) * sde.kept(t) + sde.spread(t) * noise
        assert torch.allclose(sde.noise(x, mean, clean, t), noise)
        assert torch.allclose(sde.clean(x, mean, noise, t), clean)


@pytest.mark.parametrize("anchored", [False, True])
def test_eanet_gives_noise_and_picture_that_agree(anchored: bool) -> None:
    torch.manual_seed(6)
    network = EaNet(16, (1, 1), 1, (1, 1), anchored=anchored).eval()
    mean = torch.rand(2, 3, 21, 18)
    t = torch.tensor([7, 80])
    x = network.sde.forward(torch.rand_like(mean), mean, torch.randn_like(mean), t)
    with torch.no_grad():
        noise, clean = network(x, mean, t), network.clean(x, mean, t)
    again = network.sde.forward(clean, mean, noise, t)
    assert torch.allclose(again, x, atol=2e-5)


def test_what_an_anchored_network_is_asked_for_gives_the_picture_back() -> None:
    torch.manual_seed(7)
    network = EaNet(16, (1,), 1, (1,), anchored=True)
    mean = torch.rand(3, 3, 8, 8)
    clean = mean + 0.035 * torch.randn_like(mean)
    t = torch.tensor([1, 20, 100])
    x = network.sde.forward(clean, mean, torch.randn_like(mean), t)
    wanted = network.wanted(clean, x, mean, t)
    assert wanted.std(dim=(1, 2, 3)).tolist() == pytest.approx([1.0, 1.0, 1.0], abs=0.15)
    network.residual = lambda x, mean, t: wanted  # type: ignore[method-assign]
    assert torch.allclose(network.clean(x, mean, t), clean, atol=1e-5)


def test_the_exponential_schedule_has_any_number_of_steps() -> None:
    one = Schedule.exponential(9, end=0.8)
    assert one.steps == 9
    assert one.roots[-1] == pytest.approx(0.8)
