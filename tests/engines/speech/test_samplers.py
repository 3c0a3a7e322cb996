"""The samplers on distributions whose score is known in closed form."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from engines.speech import samplers
from engines.speech.sde import OUVE, SBVE

MU, V, Y = 0.8 - 0.3j, 0.04, 0.2 + 0.1j  # x0 ~ N(MU, V), V in both parts together
SHAPE = (4, 1, 60, 60)
SDE, BRIDGE = OUVE(), SBVE()


def field(seed: int = 0) -> samplers.Noise:
    def draw(number: int, shape: torch.Size) -> Tensor:
        generator = torch.Generator().manual_seed(1000 * seed + number)
        return torch.randn(shape, dtype=torch.complex64, generator=generator)

    return draw


def wide(t: Tensor) -> Tensor:
    return t.reshape(-1, 1, 1, 1)


def score(x: Tensor, y: Tensor, t: Tensor) -> Tensor:
    decay, std = wide(SDE.decay(t)), wide(SDE.std(t))
    away = x - (decay * MU + (1 - decay) * y)
    return (-away / (decay**2 * V + std**2)).to(x.dtype)


def denoise(x: Tensor, y: Tensor, t: Tensor) -> Tensor:
    """Mean of x0 given x_t = (1 - gone) x0 + gone y + std z."""
    bridge = BRIDGE.exact()
    gone = wide(bridge.variance(t) / bridge.variance(1.0))
    std = wide(bridge.std(t))
    known = V * (1 - gone) / ((1 - gone) ** 2 * V + std**2 + 1e-30)
    return (MU + known * (x - gone * y - (1 - gone) * MU)).to(x.dtype)


def noisy() -> Tensor:
    return torch.full(SHAPE, Y, dtype=torch.complex64)


def true_origin() -> Tensor:
    """Mean of x_1 itself, so that a test sees the sampler's error and not the prior's."""
    return SDE.mean(torch.full(SHAPE, MU, dtype=torch.complex64), noisy(), 1.0)


def check_gaussian(x: Tensor, variance: float = V, rel: float = 0.06, off: float = 0.01) -> None:
    assert x.shape == SHAPE
    assert x.dtype == torch.complex64
    assert abs(complex(x.mean()) - MU) < off
    assert float((x - x.mean()).abs().square().mean()) == pytest.approx(variance, rel=rel)


# predictor and corrector


@pytest.mark.parametrize("corrector", ["annealed-langevin", "langevin", "none"])
@pytest.mark.parametrize("step_rule", ["grid", "uniform"])
def test_predictor_corrector_reaches_the_distribution(
    corrector: samplers.Corrector, step_rule: samplers.StepRule
) -> None:
    x = samplers.predictor_corrector(
        score,
        noisy(),
        SDE,
        steps=100,
        snr=0.1,
        corrector=corrector,
        step_rule=step_rule,
        origin=true_origin(),
        noise=field(),
    )
    # steps of 1/N on times that are 0.97/(N-1) apart drift a little too far
    check_gaussian(x, rel=0.1, off=0.01 if step_rule == "grid" else 0.025)


def test_the_ancestral_predictor_has_the_mean_in_few_steps() -> None:
    def run(predictor: samplers.Predictor) -> Tensor:
        return samplers.predictor_corrector(
            score,
            noisy(),
            SDE,
            steps=8,
            corrector="none",
            predictor=predictor,
            origin=true_origin(),
            noise=field(),
        )

    def error(x: Tensor) -> float:
        return abs(complex(x.mean()) - MU)

    assert error(run("ancestral")) < 0.005 < 0.03 < error(run("reverse-diffusion"))


def test_the_ancestral_predictor_reaches_the_distribution() -> None:
    x = samplers.predictor_corrector(
        score,
        noisy(),
        SDE,
        steps=200,
        corrector="none",
        predictor="ancestral",
        origin=true_origin(),
        noise=field(),
    )
    check_gaussian(x)


def test_one_step_is_the_formula() -> None:
    """A time of 1, dt = 1: x - theta (y - x) + g^2 score, after the corrector."""
    noise, y = field(), noisy()
    x = y + float(SDE.std(1.0)) * noise(0, y.shape)
    t = torch.ones(SHAPE[0])
    e = 2 * (0.5 * float(SDE.std(1.0))) ** 2
    x = x + e * score(x, y, t) + (2 * e) ** 0.5 * noise(1, y.shape)
    x = x - 1.5 * (y - x) + float(SDE.diffusion(1.0)) ** 2 * score(x, y, t)
    for rule in ("grid", "uniform"):
        ours = samplers.predictor_corrector(score, y, SDE, steps=1, noise=noise, step_rule=rule)
        torch.testing.assert_close(ours, x)


def test_the_two_step_rules_and_euler_maruyama() -> None:
    seen: dict[str, list[Tensor]] = {}

    def run(name: str, **settings: object) -> Tensor:
        states = seen.setdefault(name, [])
        return samplers.predictor_corrector(
            score,
            noisy(),
            SDE,
            steps=5,
            corrector="none",
            noise=field(),
            join=lambda x: (states.append(x), x)[1],
            **settings,  # pyright: ignore[reportArgumentType]
        )

    uniform, grid = run("uniform", step_rule="uniform"), run("grid", step_rule="grid")
    assert not torch.equal(uniform, grid)
    assert torch.equal(uniform, run("euler", predictor="euler-maruyama"))
    y, x = noisy(), SDE.prior(noisy(), field()(0, noisy().shape))
    found = score(x, y, torch.ones(SHAPE[0]))
    for name, dt in (("grid", (1 - 0.03) / 4), ("uniform", 0.2)):
        assert len(seen[name]) == 5
        g2 = float(SDE.diffusion(1.0)) ** 2 * dt
        expected = x - dt * 1.5 * (y - x) + g2 * found + g2**0.5 * field()(1, y.shape)
        torch.testing.assert_close(seen[name][0], expected)


def test_a_warm_start_keeps_what_it_is_given() -> None:
    estimate = torch.full(SHAPE, MU, dtype=torch.complex64)
    warm = samplers.predictor_corrector(
        score,
        noisy(),
        SDE,
        steps=60,
        start=0.5,
        corrector="none",
        noise=field(),
        origin=SDE.mean(estimate, noisy(), 0.5),
    )
    check_gaussian(warm, rel=0.25)  # the start lacks x0's own spread
    times: list[float] = []

    def watch(x: Tensor, y: Tensor, t: Tensor) -> Tensor:
        times.append(float(t[0]))
        return score(x, y, t)

    samplers.predictor_corrector(watch, noisy(), SDE, steps=3, start=0.5, noise=field())
    assert times == pytest.approx([0.5, 0.5, 0.265, 0.265, 0.03, 0.03])


# the ODE


@pytest.mark.parametrize(("solver", "steps"), [("dpm-solver++", 25), ("heun", 25)])
def test_probability_flow_reaches_the_distribution(solver: samplers.Solver, steps: int) -> None:
    x = samplers.probability_flow(
        score, noisy(), SDE, steps=steps, solver=solver, origin=true_origin(), noise=field()
    )
    # V at t_eps seen through the last estimate of x0, and x_1 without x0's own spread
    seen = (
        V**2
        * float(SDE.decay(0.03)) ** 2
        / (float(SDE.decay(0.03)) ** 2 * V + float(SDE.std(0.03)) ** 2)
    )
    spread = float(SDE.std(1.0)) ** 2
    check_gaussian(x, seen * spread / (spread + float(SDE.decay(1.0)) ** 2 * V), rel=0.03)


def test_more_steps_converge_to_one_solution() -> None:
    def run(steps: int, solver: samplers.Solver) -> Tensor:
        return samplers.probability_flow(
            score, noisy(), SDE, steps=steps, solver=solver, noise=field()
        )

    exact = run(400, "heun")
    for solver in ("dpm-solver++", "heun"):
        coarse, fine = ((run(n, solver) - exact).abs().max() for n in (10, 40))
        assert float(fine) < float(coarse) / 6  # second order would be 16
        assert float(fine) < 0.01


# the bridge


@pytest.mark.parametrize("query", ["current", "next"])
def test_the_stochastic_bridge_reaches_the_distribution(query: str) -> None:
    x = samplers.bridge(
        denoise,
        noisy(),
        BRIDGE,
        steps=800,
        kind="sde",
        query=query,  # pyright: ignore[reportArgumentType]
        earliest=1e-4,
        noise=field(),
    )
    check_gaussian(x, rel=0.08)


def test_the_bridge_ode_from_one_y_gives_one_answer() -> None:
    """Its start has no spread, so neither has its end: the mean of x0 given y, here MU."""
    for steps in (1, 5, 20):
        x = samplers.bridge(denoise, noisy(), BRIDGE, steps=steps)
        torch.testing.assert_close(x, torch.full_like(x, MU), rtol=0, atol=1e-3)


def test_a_known_answer_is_reached_however_few_the_steps() -> None:
    target = torch.full(SHAPE, MU, dtype=torch.complex64)
    for kind in ("ode", "sde"):
        for steps in (1, 2, 7):
            x = samplers.bridge(
                lambda x, y, t: target, noisy(), BRIDGE, steps=steps, kind=kind, noise=field()
            )
            torch.testing.assert_close(x, target, rtol=0, atol=0.02)


def test_the_bridge_s_first_step_is_exact_and_its_weights_sum_to_one() -> None:
    steps = torch.linspace(1, 1e-4, 6, dtype=torch.float64).tolist()
    exact = BRIDGE.exact()
    for weigh in (samplers.bridge_ode_weights, samplers.bridge_sde_weights):
        for t, to in pairwise(steps):
            assert sum(weigh(exact, t, to)[:3]) == pytest.approx(1.0, abs=1e-12)
    of_x, of_clean, of_y, _ = samplers.bridge_ode_weights(exact, 1.0, steps[1])
    assert of_x + of_y == pytest.approx(0.627, abs=1e-3)
    assert of_clean == pytest.approx(0.373, abs=1e-3)
    # the official guards
    of_x, of_clean, of_y, _ = samplers.bridge_ode_weights(BRIDGE, 1.0, steps[1])
    assert of_x > 4000
    assert of_x + of_y == pytest.approx(0.675, abs=1e-3)
    assert of_clean == pytest.approx(0.373, abs=1e-3)


def test_the_bridge_asks_at_the_times_it_says() -> None:
    def times(query: str) -> list[float]:
        asked: list[float] = []

        def watch(x: Tensor, y: Tensor, t: Tensor) -> Tensor:
            asked.append(float(t[0]))
            return y

        samplers.bridge(watch, noisy(), BRIDGE, steps=4, query=query)  # pyright: ignore
        return asked

    assert times("current") == pytest.approx([1.0, 0.750025, 0.50005, 0.250075])
    assert times("next") == pytest.approx([0.750025, 0.50005, 0.250075, 0.03])
    with pytest.raises(ValueError, match="draws noise"):
        samplers.bridge(denoise, noisy(), BRIDGE, kind="sde")


# what all of them promise

Run = Callable[..., Tensor]


def _pc(y: Tensor | None = None, **options: object) -> Tensor:
    y = noisy() if y is None else y
    return samplers.predictor_corrector(score, y, SDE, steps=3, **options)  # pyright: ignore


def _langevin(y: Tensor | None = None, **options: object) -> Tensor:
    return _pc(y, corrector="langevin", **options)


def _ode(y: Tensor | None = None, **options: object) -> Tensor:
    y = noisy() if y is None else y
    return samplers.probability_flow(score, y, SDE, steps=3, **options)  # pyright: ignore


def _heun(y: Tensor | None = None, **options: object) -> Tensor:
    return _ode(y, solver="heun", **options)


def _bridge(y: Tensor | None = None, **options: object) -> Tensor:
    y = noisy() if y is None else y
    return samplers.bridge(denoise, y, BRIDGE, steps=3, kind="sde", **options)  # pyright: ignore


ALL: list[Run] = [_pc, _langevin, _ode, _heun, _bridge]


@pytest.mark.parametrize("run", ALL)
def test_a_seed_fixes_the_result(run: Run) -> None:
    first = run(noise=field(1))
    assert torch.equal(first, run(noise=field(1)))
    assert not torch.equal(first, run(noise=field(2)))


@pytest.mark.parametrize("run", ALL)
def test_an_item_does_not_depend_on_its_neighbours(run: Run) -> None:
    whole = run(noise=field())
    alone = run(noisy()[1:2], noise=lambda number, _shape: field()(number, torch.Size(SHAPE))[1:2])
    torch.testing.assert_close(alone, whole[1:2])


@pytest.mark.parametrize(("run", "calls"), list(zip(ALL, (6, 6, 3, 5, 3), strict=True)))
def test_calls_are_counted_and_announced(run: Run, calls: int) -> None:
    told: list[tuple[int, int]] = []
    run(noise=field(), calls=lambda done, every: told.append((done, every)))
    assert told == [(number, calls) for number in range(1, calls + 1)]


@pytest.mark.parametrize("run", ALL)
def test_it_can_be_stopped_before_every_call(run: Run) -> None:
    class Stop(Exception):
        pass

    told: list[int] = []

    def check() -> None:
        if len(told) == 2:
            raise Stop

    with pytest.raises(Stop):
        run(noise=field(), check=check, calls=lambda done, _every: told.append(done))
    assert told == [1, 2]


def test_the_calls_of_a_plan_are_known_beforehand() -> None:
    assert samplers.predictor_corrector_calls(30, "annealed-langevin") == 60
    assert samplers.predictor_corrector_calls(30, "none") == 30
    assert samplers.predictor_corrector_calls(10, "langevin", 2) == 30
    assert samplers.probability_flow_calls(8, "dpm-solver++") == 8
    assert samplers.probability_flow_calls(8, "heun") == 15
