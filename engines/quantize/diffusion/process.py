"""One diffusion model through one method: calibrated, quantized, judged, written, checked."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from engines.base import Comparison, Figure, Job, Output, Result, UserError
from engines.quantize.diffusion.export import Exported, write_model
from engines.quantize.diffusion.figures import draw_layers, draw_steps, shown, write_sheet
from engines.quantize.diffusion.folder import DiffusionFolder, open_diffusion
from engines.quantize.diffusion.judge import Judged, held_out, judged, layer_errors
from engines.quantize.diffusion.kept import keep_layers, kept_layers
from engines.quantize.diffusion.layers import Stepped
from engines.quantize.diffusion.load import load_diffusion
from engines.quantize.diffusion.network import Kept, layers_of, order_of, widths
from engines.quantize.diffusion.params import DiffusionParams
from engines.quantize.diffusion.predictor import (
    Predictor,
    conditions_of,
    load_network,
    shape_of,
    twin,
)
from engines.quantize.diffusion.report import Summary, card, write_reports
from engines.quantize.diffusion.runtime import Runner
from engines.quantize.diffusion.sampler import Calls, Sampler, collected
from engines.quantize.diffusion.task import BATCH, Task
from engines.quantize.figures import thumbnail
from engines.quantize.scratch import save_tensors

_CALIBRATE, _QUANTIZE, _JUDGE = 0.2, 0.85, 0.98  # ends of the parts of the work, as shares
_ASK_EVERY = 0.25  # seconds between two questions whether to stop
_SAME = 1e-4  # relative difference of predictions that a read-back may have


class DiffusionMethod(Protocol):
    """One way to choose codes; instances hold their own settings and no state."""

    name: ClassVar[str]  # as in the engine's id

    def quantize(self, task: Task, runner: Runner) -> dict[str, Stepped]:
        """Quantize all layers of `task.widths` and put them into `runner`."""
        ...


@dataclass(frozen=True)
class Work:
    """What is to be done.

    Attributes:
        method: how codes are chosen.
        times: (count, training steps, generator) -> times of the calibration inputs.
        kept: what stays in floating point by the method's own rule.
    """

    method: DiffusionMethod
    times: Callable[[int, int, torch.Generator], Tensor]
    kept: Kept


def quantize(path: Path, engine: str, version: str, work: Work, params: Any, job: Job) -> Result:
    """Quantize the diffusion model at `path`.

    Args:
        path: a folder of diffusers; never modified.
        engine: id of the engine.
        version: of the engine.
        work: the method.
        params: a `DiffusionParams`.
        job: device, workspace, progress, cancellation.

    Raises:
        UserError: the model cannot be used, or what was written is not what was measured.
        Cancelled: passed through from `job.check_cancelled`.
    """
    folder = open_diffusion(path)
    scratch = job.resumable(_key(path, version, params))
    job.progress(0.0, 1.0, "reading the model")
    teacher = Predictor(
        load_network(folder, job.device), conditions_of(folder, params.prompts, params.guidance)
    )
    student = twin(teacher.network)
    begun = time.monotonic()
    check = _often(job.check_cancelled)
    for network in (teacher.network, student):
        _ask(network, check)
    task = _task(folder, teacher, work, params, scratch, check, job)
    runner = Runner(student, task.sampler.timesteps)
    layers = _quantized(task, runner, work.method)
    seconds = time.monotonic() - begun
    job.progress(_QUANTIZE, 1.0, "comparing both models")
    noise, condition = held_out(teacher, task.shape, params.pictures, params.seed)
    seen = judged(
        teacher, Predictor(student, teacher.conditions), task.sampler, noise, condition,
        _part(job, _QUANTIZE, _JUDGE, "comparing both models"),
    )  # fmt: skip
    errors = layer_errors(teacher, layers, runner, task.calls.at(slice(0, BATCH)), check)
    name = f"{folder.name}-{work.method.name}-w{params.weight_bits}a{params.activation_bits}"
    summary = Summary.of(folder, engine, params, layers, errors, seen, seconds)
    made = job.workspace / name
    written = write_model(
        made, folder, student, layers, export=params.export, method=work.method.name,
        timesteps=task.sampler.timesteps, card=card(name, summary), check=check,
    )  # fmt: skip
    job.progress(_JUDGE, 1.0, "reading back what was written")
    _verify(made, params.export, student, task, runner)
    result = _result(folder, made, written, summary, seen, job.workspace)
    shutil.rmtree(scratch, ignore_errors=True)
    return result


def _task(
    folder: DiffusionFolder, teacher: Predictor, work: Work, params: DiffusionParams,
    scratch: Path, check: Callable[[], None], job: Job,
) -> Task:  # fmt: skip
    sampler = Sampler(folder.scheduler, params.steps)
    shape = shape_of(folder)
    generator = torch.Generator().manual_seed(params.seed)
    times = work.times(params.samples, sampler.length, generator)
    calls = _calls(scratch, sampler, teacher, times, shape, params.seed, job)
    first = calls.at(slice(0, 1))
    order = order_of(teacher.network, lambda: teacher.raw(first.x, first.t, first.condition))
    skip = [part.strip() for part in params.skip.split(",") if part.strip()]
    chosen = widths(
        teacher.network, order, params.weight_bits, params.activation_bits, work.kept, skip
    )
    if not chosen:
        raise UserError("All layers are kept as they are; name fewer in skip")
    told = _part(job, _CALIBRATE, _QUANTIZE)
    layers = layers_of(teacher.network)
    return Task(
        teacher, layers, chosen, calls, sampler, shape, scratch, params.seed, check,
        lambda share, text: told(share, text),
    )  # fmt: skip


def _calls(
    scratch: Path, sampler: Sampler, teacher: Predictor, times: Tensor,
    shape: tuple[int, int, int], seed: int, job: Job,
) -> Calls:  # fmt: skip
    """The calibration inputs, out of an earlier attempt where they are there."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = scratch / "calls.safetensors"
    if path.is_file():
        try:
            found = load_file(path)
            return Calls(found["x"], found["t"], found.get("condition"))
        except (OSError, SafetensorError, KeyError):
            path.unlink(missing_ok=True)
    told = _part(job, 0.0, _CALIBRATE)
    calls = collected(
        sampler, teacher, times, shape, seed, lambda share: told(share, "sampling to calibrate")
    )
    tensors = {"x": calls.x, "t": calls.t}
    save_tensors(
        path, tensors if calls.condition is None else tensors | {"condition": calls.condition}, {}
    )
    return calls


def _quantized(task: Task, runner: Runner, method: DiffusionMethod) -> dict[str, Stepped]:
    """The layers, out of an earlier attempt where it came so far."""
    path = task.scratch / "layers.safetensors"
    layers = kept_layers(path)
    if layers is not None and layers.keys() == task.widths.keys():
        runner.put_all(layers)
        return layers
    layers = method.quantize(task, runner)
    keep_layers(path, layers)
    return {name: layers[name] for name in task.widths}


@torch.no_grad()
def _verify(made: Path, export: str, student: nn.Module, task: Task, runner: Runner) -> None:
    """Read back what was written, and hold its predictions against those that were measured.

    Raises:
        UserError: they differ.
    """
    written = load_diffusion(made, str(task.teacher.device), task.check).network
    few = task.calls.at(slice(0, 2))
    if export == "dense":  # which has no grids for inputs: weights are compared
        own = student.state_dict()
        pairs = [(value, own[name].float()) for name, value in written.state_dict().items()]
    else:
        both = [Predictor(one, task.teacher.conditions) for one in (written, student)]
        pairs = [tuple(one.raw(few.x, few.t, few.condition) for one in both)]
    bound = _SAME if export == "studio" else 1e-2
    for found, wanted in pairs:
        difference = float((found - wanted).abs().mean() / wanted.abs().mean().clamp_min(1e-12))
        if not difference < bound:
            raise UserError(
                f"The model that was written differs from the one that was measured by "
                f"{difference:.1%}; the disk may be faulty: run it again"
            )


def _result(
    folder: DiffusionFolder, made: Path, written: Exported, summary: Summary, seen: Judged,
    workspace: Path,
) -> Result:  # fmt: skip
    sheets = [
        write_sheet(workspace / f"{name}.png", shown(folder, pictures))
        for name, pictures in (("before", seen.before), ("after", seen.after))
    ]
    figures: list[Figure] = [
        draw_steps(workspace / "steps.png", seen),
        draw_layers(workspace / "errors.png", summary.errors),
    ]
    measurements = summary.measurements(written.bytes)
    data, words = write_reports(workspace, made.name, summary, measurements)
    return Result(
        outputs=[
            Output(made, "model", "quantized model", primary=True),
            Output(data, "document", "report (JSON)"),
            Output(words, "document", "report"),
        ],
        measurements=measurements,
        figures=figures,
        comparisons=[Comparison(sheets[0], sheets[1], "image", "the same noise")],
        thumbnail=thumbnail(sheets[1], workspace / "thumbnail.jpg"),
        notes=summary.notes,
    )


def _part(job: Job, start: float, end: float, always: str = "") -> Any:
    """Progress within a part of the work: a function of the share of it, and a text."""

    def told(share: float, text: str = always) -> None:
        job.progress(start + (end - start) * min(share, 1.0), 1.0, text)

    return told


def _often(check: Callable[[], None]) -> Callable[[], None]:
    """`check`, but not more than some times a second, so that every layer may call it."""
    last = 0.0

    def asked() -> None:
        nonlocal last
        if time.monotonic() - last >= _ASK_EVERY:
            last = time.monotonic()
            check()

    return asked


def _ask(network: nn.Module, check: Callable[[], None]) -> None:
    """Ask whether to stop before every layer: a large network takes long for one call."""
    for layer in layers_of(network).values():
        layer.register_forward_pre_hook(lambda _module, _args: check())


def _key(path: Path, version: str, params: DiffusionParams) -> str:
    """Names the work by the model's files as they are now, and by every parameter."""
    files = sorted(one for one in path.rglob("*") if one.is_file())
    seen = [(str(f.relative_to(path)), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
    return f"{path}|{seen}|{version}|{params.model_dump_json()}"
