"""What the two methods do to a network: adapters, steps, rounding, calibration."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engines.quantize.diffusion.efficientdm import Adapted, EfficientDm
from engines.quantize.diffusion.network import Kept, layers_of, order_of, widths
from engines.quantize.diffusion.predictor import Conditions, Predictor, twin
from engines.quantize.diffusion.ptq4dm import Ptq4dm
from engines.quantize.diffusion.runtime import Runner
from engines.quantize.diffusion.sampler import Calls, Sampler, collected, even_times
from engines.quantize.diffusion.task import MinMax, Task
from tests.diffusion_models import network

SHAPE = (3, 8, 8)
SCHEDULE = {"num_train_timesteps": 1000, "beta_schedule": "linear", "clip_sample": True}


def _task(folder: Path, *, bits: int = 4, kept: Kept = "nothing", steps: int = 4) -> Task:
    teacher = Predictor(network().requires_grad_(False), Conditions())
    sampler = Sampler(SCHEDULE, steps)
    calls = collected(sampler, teacher, even_times(12, 1000), SHAPE, 3, lambda _: None)
    order = order_of(teacher.network, lambda: teacher.raw(calls.x[:1], calls.t[:1], None))
    chosen = widths(teacher.network, order, bits, bits, kept)
    folder.mkdir(exist_ok=True)
    return Task(
        teacher, layers_of(teacher.network), chosen, calls, sampler, SHAPE, folder, 1,
        lambda: None, lambda share, text: None,
    )  # fmt: skip


def _runner(task: Task) -> Runner:
    return Runner(twin(task.teacher.network), task.sampler.timesteps)


def _error(task: Task, runner: Runner) -> float:
    """Of the prediction on the calibration inputs, relative."""
    student = Predictor(runner.network, Conditions())
    both = [one.raw(task.calls.x, task.calls.t, None) for one in (student, task.teacher)]
    return float((both[0] - both[1]).square().sum() / both[1].square().sum())


def test_every_input_goes_with_the_time_that_it_is_from() -> None:
    seen: dict[int, torch.Tensor] = {}

    class Noting(Predictor):
        def __call__(self, x: torch.Tensor, t: torch.Tensor, condition: object) -> torch.Tensor:
            seen[int(t[0])] = x.clone()
            return 0.1 * x

    sampler = Sampler(SCHEDULE, 5)
    times = torch.tensor([0, 990, 410, 200])
    calls = collected(sampler, Noting(network(), Conditions()), times, SHAPE, 7, lambda _: None)
    assert calls.t.tolist() == [0, 800, 400, 200]
    for number, t in enumerate(calls.t.tolist()):
        assert torch.equal(calls.x[number], seen[t][number])
    # Noise has the variance 1 of the start; what is close to the picture has not.
    assert torch.equal(calls.x[1], seen[800][1])


def test_an_adapter_of_zero_changes_nothing_and_merges(tmp_path: Path) -> None:
    task = _task(tmp_path / "a", kept="ways")
    runner, grids = _runner(task), task.input_ranges()
    name = next(name for name, width in task.widths.items() if not width.edge)
    one = Adapted(
        task, name, runner, grids[name], rank=4, rate=1.0,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    plain = one.done(task, name)
    assert torch.equal(one.weight().detach(), plain.dequantize())
    assert one.right.shape[0] == 4
    with torch.no_grad():
        one.left.normal_(0, 0.2)
    merged = one.done(task, name)
    assert not torch.equal(merged.weight.codes, plain.weight.codes)
    # What is trained is what is stored, up to the rounding of scales that did not move: exactly.
    assert torch.equal(one.weight().detach(), merged.dequantize())


def test_learning_rates_follow_the_step_sizes(tmp_path: Path) -> None:
    task = _task(tmp_path / "a", kept="ways")
    runner, grids = _runner(task), task.input_ranges()
    for name, width in task.widths.items():
        if width.edge:
            continue
        one = Adapted(
            task, name, runner, grids[name], rank=4, rate=2.0, generator=torch.Generator()
        )
        peaks = [group["peak"] for group in one.groups()]
        assert peaks[0] == pytest.approx(2.0 * float(one.scale.detach().mean()) / 2500)
        assert peaks[2] <= 0.01 * float(grids[name][0]) * 1.001


def test_only_the_grid_of_the_step_is_trained(tmp_path: Path) -> None:
    task = _task(tmp_path / "a", kept="ways")
    runner = _runner(task)
    learned = EfficientDm(passes=1, batch=2, rank=4, rate=1.0)._trained(
        task, runner, task.input_ranges()
    )
    moved = [torch.stack([*one.scales]).detach() for one in learned.values()]
    assert all(len(values.unique()) > 1 for values in moved)  # every step went its own way
    one = next(iter(learned.values()))
    first = Adapted(
        task, next(iter(learned)), runner, task.input_ranges()[next(iter(learned))], rank=4,
        rate=1.0, generator=torch.Generator(),
    )  # fmt: skip
    first.begin()
    runner.network(torch.randn(1, 3, 8, 8), task.sampler.timesteps[2], return_dict=False)[
        0
    ].sum().backward()
    first.end()
    assert [scale.grad is not None for scale in first.scales] == [False, False, True, False]
    assert one is not first


def _run(folder: Path, method: MinMax | Ptq4dm | EfficientDm, kept: Kept, bits: int = 4) -> float:
    """Quantize with a method; its error on the calibration inputs."""
    task = _task(folder, bits=bits, kept=kept)
    before = {k: v.clone() for k, v in task.teacher.network.state_dict().items()}
    runner = _runner(task)
    layers = method.quantize(task, runner)
    assert layers.keys() == task.widths.keys()
    now = task.teacher.network.state_dict()
    assert all(torch.equal(value, now[key]) for key, value in before.items())
    return _error(task, runner)


def test_learned_rounding_beats_searched_ranges_and_those_beat_whole_ones(tmp_path: Path) -> None:
    methods = {"plain": MinMax(), "searched": Ptq4dm(0), "learned": Ptq4dm(40)}
    found = {name: _run(tmp_path / name, one, "nothing") for name, one in methods.items()}
    assert found["learned"] < found["searched"] < found["plain"]


def test_what_the_original_teaches_lowers_the_error(tmp_path: Path) -> None:
    untaught, taught = (
        _run(tmp_path / str(passes), EfficientDm(passes, batch=4, rank=16, rate=100.0), "ways")
        for passes in (0, 8)
    )
    assert taught < 0.95 * untaught


def test_gradients_pass_layers_that_are_rounded_already(tmp_path: Path) -> None:
    """The last layer is one of those; without this nothing before it would learn."""
    task = _task(tmp_path / "a")
    runner = _runner(task)
    MinMax().quantize(task, runner)
    x = task.calls.x[:1].clone().requires_grad_()
    Predictor(runner.network, Conditions()).raw(x, task.calls.t[:1], None).sum().backward()
    assert x.grad is not None
    assert float(x.grad.abs().max()) > 0


def test_calls_are_taken_in_order() -> None:
    calls = Calls(torch.arange(5.0)[:, None], torch.arange(5), torch.arange(5))
    parts = list(calls.batches(2))
    assert [len(part) for part in parts] == [2, 2, 1]
    last = parts[-1].condition
    assert last is not None
    assert last.tolist() == [4]
