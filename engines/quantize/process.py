"""One model through one method: opened, walked through, written, checked, reported."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor

from engines.base import Figure, Job, Output, Result, UserError
from engines.quantize.export import Traits, Writer, choose, refusal, traits
from engines.quantize.figures import draw_errors, draw_front, thumbnail
from engines.quantize.folder import ModelFolder, open_folder
from engines.quantize.gradients import sweep
from engines.quantize.layers import Dim, Grid, QuantizedLayer
from engines.quantize.method import Method
from engines.quantize.params import GridParams, ModelParams
from engines.quantize.plan import Mixture, Search, keeps, mixtures
from engines.quantize.report import Summary, card, write_reports
from engines.quantize.runtime import load_model, speed
from engines.quantize.scratch import Scratch
from engines.quantize.skeleton import Skeleton
from engines.quantize.text import (
    CALIBRATION,
    EVALUATION,
    read_text,
    shuffled_windows,
    straight_windows,
    tokenizer_of,
)
from engines.quantize.walk import Plan, Walked, walk

_FEW_WINDOWS = 4  # enough to take errors on, where the method needs no inputs
_AIMING_WINDOWS = 8  # and to find mixtures by
_GRADIENT_WINDOWS = 1  # "one calibration sample", GWQ
_ROUNDS = 4  # walks at most towards a perplexity
WHOLE_SHARE = 0.25  # of this machine's memory, for a model that is loaded whole
_SPOKEN = 48  # tokens that are timed


@dataclass(frozen=True)
class Work:
    """What is to be done.

    Attributes:
        method: how codes are chosen.
        grid: of every layer where no target is set.
        extra: bits a weight that the method stores besides codes and scales, for planning.
        dims: where its groups may run, likewise.
    """

    method: Method
    grid: Grid
    extra: float = 0.0
    dims: tuple[Dim, ...] = ("in",)


def quantize(path: Path, engine: str, version: str, work: Work, params: Any, job: Job) -> Result:
    """Quantize the model at `path`.

    Args:
        path: a model folder; never modified.
        engine: id of the engine, "quantize.awq".
        version: of the engine.
        work: method and grid.
        params: a `ModelParams`.
        job: device, workspace, progress, cancellation.

    Raises:
        UserError: the model cannot be used, the export cannot hold the method, no text.
        Cancelled: passed through from `job.check_cancelled`.
    """
    folder = _opened(path)
    scratch_folder = job.resumable(_key(path, version, params))
    tokenizer = tokenizer_of(folder)
    skeleton = Skeleton(folder, job.device)
    length = min(params.length, _longest(skeleton))
    text = read_text(Path(params.calibration) if params.calibration else CALIBRATION)
    windows = _windows(work.method, params)
    calibration = shuffled_windows(tokenizer, text, windows, length, params.seed + 41)
    evaluation = straight_windows(
        tokenizer, read_text(EVALUATION), max(params.evaluate, 2 * length), length
    )
    torch.manual_seed(params.seed)
    run = _Run(skeleton, work, params, job, scratch_folder, calibration, evaluation)
    walked, mixture, place, scratch = run.walked()
    name = f"{folder.name}-{engine.rpartition('.')[2]}"
    name += f"-w{work.grid.bits}" if mixture is None else "-mixed"
    made = job.workspace / name
    summary = _written(made, folder, skeleton, scratch, walked, engine, work, params, job)
    summary = _compared(summary, folder, made, evaluation[0], walked, params, job)
    result = _result(summary, made, mixture, place, job.workspace)
    shutil.rmtree(scratch_folder, ignore_errors=True)
    return result


@dataclass(frozen=True)
class _Run:
    """The walks: one, or as many as a perplexity target takes."""

    skeleton: Skeleton
    work: Work
    params: ModelParams
    job: Job
    folder: Path
    calibration: Tensor
    evaluation: Tensor

    def walked(self) -> tuple[Walked, Mixture | None, int, Scratch]:
        """The walk that counts, the mixtures and the place of the chosen one where a target was
        set, and where its blocks are.
        """
        self._gradients()
        params = self.params
        if not isinstance(params, GridParams) or params.target == "bits":
            walked, scratch = self._walk({}, "blocks")
            return walked, None, 0, scratch
        mixture = mixtures(
            self.skeleton, params, self.calibration, self.folder,
            extra=self.work.extra, dims=self.work.dims,
            check=self.job.check_cancelled, progress=self._before,
        )  # fmt: skip
        if params.target == "size":
            assert params.target_gb is not None
            rest = _rest_bits(self.skeleton, set(mixture.options))
            place = mixture.within(8e9 * params.target_gb - rest)
            walked, scratch = self._walk(mixture.front.grids(place), "blocks")
            return walked, mixture, place, scratch
        assert params.target_increase is not None
        return self._searched(mixture, Search.up_to(params.target_increase))

    def _searched(self, mixture: Mixture, search: Search) -> tuple[Walked, Mixture, int, Scratch]:
        """Walk, compare with the prediction, choose again; the smallest that holds wins."""
        best: tuple[Walked, Mixture, int, Scratch] | None = None
        tried: set[int] = set()
        for turn in range(_ROUNDS):
            place = search.place(mixture.front)
            if place in tried:
                break
            tried.add(place)
            walked, scratch = self._walk(mixture.front.grids(place), f"blocks-{turn}")
            rise = float(torch.tensor(walked.perplexity / walked.perplexity_original).log())
            holds = rise <= search.allowed
            if holds and (best is None or place < best[2]):
                best = walked, mixture, place, scratch
            search = search.learn(float(mixture.front.costs[place]), rise)
        if best is None:
            place = len(mixture.front.costs) - 1
            walked, scratch = self._walk(mixture.front.grids(place), "blocks-most")
            best = walked, mixture, place, scratch
        return best

    def _walk(self, grids: Mapping[str, Grid], name: str) -> tuple[Walked, Scratch]:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        for one in self.folder.glob("gradients-*.safetensors"):
            if not (folder / one.name).exists():
                (folder / one.name).hardlink_to(one)
        scratch = Scratch(folder)
        kept = keeps(self.params.skip)
        plan: Plan = lambda layer: None if kept(layer) else grids.get(layer, self.work.grid)  # noqa: E731
        walked = walk(
            self.skeleton, self.work.method, plan,
            calibration=self.calibration, evaluation=self.evaluation, scratch=scratch,
            check=self.job.check_cancelled, progress=self.job.progress, accept=self._accept,
        )  # fmt: skip
        return walked, scratch

    def _accept(self, name: str, layer: QuantizedLayer) -> None:
        """Refuse what the export cannot hold at the first block, not after the last."""
        if self.params.export != "auto":
            reason = refusal(self.params.export, name, layer, self.skeleton.is_conv1d(name))
            if reason:
                raise UserError(reason)

    def _gradients(self) -> None:
        method = self.work.method
        if method.uses == "gradients":
            sweep(
                self.skeleton, self.calibration[:_GRADIENT_WINDOWS], self.folder, "gradients",
                lambda _path, weight, x, g: method.see_gradient(weight, g.T @ x),
                self.job.check_cancelled, self._before,
            )  # fmt: skip

    def _before(self, done: float, total: float, text: str) -> None:
        self.job.progress(done, 2.0 * total, text)


def _windows(method: Method, params: ModelParams) -> int:
    """Windows of calibration text that flow through the whole model."""
    if method.uses == "activations":
        return params.samples
    aimed = isinstance(params, GridParams) and params.target != "bits"
    return min(params.samples, _AIMING_WINDOWS if aimed else _FEW_WINDOWS)


def _key(path: Path, version: str, params: ModelParams) -> str:
    """Names the work by the model's files as they are now, and by every parameter."""
    files = sorted(path.iterdir())
    seen = [(one.name, one.stat().st_size, one.stat().st_mtime_ns) for one in files]
    return f"{path}|{seen}|{version}|{params.model_dump_json()}"


def _opened(path: Path) -> ModelFolder:
    folder = open_folder(path)
    if folder.quantization is not None:
        raise UserError(f"{folder.name} is quantized already; choose the original model")
    return folder


def _longest(skeleton: Skeleton) -> int:
    """Tokens that the model takes at once."""
    return int(getattr(skeleton.model.config, "max_position_embeddings", 0) or 2**20)


def _rest_bits(skeleton: Skeleton, layers: set[str]) -> float:
    """Bits of all that is not quantized, as the folder stores it; tied weights count once."""
    names = {skeleton.stored(name) for name in skeleton.model.state_dict()}
    names -= {skeleton.stored(f"{name}.weight") for name in layers}
    return 8.0 * sum(skeleton.folder.places[name].bytes for name in names)


def _written(
    made: Path, folder: ModelFolder, skeleton: Skeleton, scratch: Scratch, walked: Walked,
    engine: str, work: Work, params: ModelParams, job: Job,
) -> Summary:  # fmt: skip
    """The export, block by block."""
    held: dict[str, Traits] = {}
    for index, block in enumerate(skeleton.blocks):
        for path, layer in scratch.load(index).layers.items():
            held[f"{block}.{path}"] = traits(layer, skeleton.is_conv1d(f"{block}.{path}"))
    if not held:
        raise UserError("All layers are kept as they are; name fewer in skip")
    format_name = choose(held.items()) if params.export == "auto" else params.export
    made.mkdir()
    summary = Summary.of(folder, engine, format_name, params, walked)
    with Writer(made, format_name, folder, held, method=work.method.name) as writer:
        skeleton.load_outside()
        written: set[str] = set()
        for name in skeleton.outside():
            if skeleton.stored(name) not in written:
                written.add(skeleton.stored(name))
                writer.add_plain(name, skeleton.value(name))
        for index, block in enumerate(skeleton.blocks):
            job.check_cancelled()
            job.progress(index, len(skeleton.blocks), f"writing block {index + 1}")
            done = scratch.load(index)
            biases = {f"{path}.bias" for path in done.layers} & set(done.plain)
            for path, layer in done.layers.items():
                writer.add(f"{block}.{path}", layer, done.plain.get(f"{path}.bias"))
            for path, value in done.plain.items():
                if path not in biases:
                    writer.add_plain(f"{block}.{path}", value)
        summary = replace(summary, size_mb=writer.bytes / 1e6)
        writer.finish(card(summary))
    return summary


def _compared(
    summary: Summary, folder: ModelFolder, made: Path, tokens: Tensor, walked: Walked,
    params: ModelParams, job: Job,
) -> Summary:  # fmt: skip
    """Read what was written, compare its logits with the walk's, and time both models.

    Raises:
        UserError: what was written is not what was measured.
    """
    if 4 * folder.bytes > WHOLE_SHARE * psutil.virtual_memory().total:
        note = "The model is too large to be loaded whole here, so its speed was not measured"
        return replace(summary, notes=(*summary.notes, note))
    job.progress(0, 3, "reading back what was written")
    written = load_model(made, job.device, check=job.check_cancelled)
    with torch.no_grad():
        logits = written.model(input_ids=tokens[None].to(job.device), use_cache=False).logits[0]
    difference = float((logits.cpu() - walked.window).abs().mean() / walked.window.abs().mean())
    if summary.exact and not difference < 0.02:
        raise UserError(
            f"The model that was written differs from the one that was measured by "
            f"{difference:.1%}; the disk may be faulty: run it again"
        )
    summary = replace(summary, reload_difference=difference)
    if not params.speed:
        return summary
    job.progress(1, 3, "timing the quantized model")
    spoken = speed(written, _SPOKEN, job.check_cancelled)
    del written
    job.progress(2, 3, "timing the original")
    original = speed(load_model(folder.path, job.device), _SPOKEN, job.check_cancelled)
    return replace(summary, tokens_per_second=spoken, tokens_per_second_original=original)


def _result(
    summary: Summary, made: Path, mixture: Mixture | None, place: int, workspace: Path
) -> Result:
    figures: list[Figure] = [draw_errors(workspace / "errors.png", summary.blocks)]
    if mixture is not None:
        figures.insert(
            0,
            draw_front(
                workspace / "front.png", mixture.front, mixture.uniform(), place, mixture.weights
            ),
        )
        summary = replace(summary, front=_front_rows(mixture, place))
    data, words = write_reports(workspace, made.name, summary)
    return Result(
        outputs=[
            Output(made, "model", "quantized model", primary=True),
            Output(data, "document", "report (JSON)"),
            Output(words, "document", "report"),
        ],
        measurements=summary.measurements(),
        figures=figures,
        thumbnail=thumbnail(figures[0].path, workspace / "thumbnail.jpg"),
        notes=summary.notes,
    )


def _front_rows(mixture: Mixture, place: int) -> list[dict[str, float | bool]]:
    """The best mixtures as points, some sixty of them and the chosen one."""
    count = len(mixture.front.costs)
    places = sorted({*range(0, count, max(count // 60, 1)), place, count - 1})
    return [
        {
            "bits_per_weight": float(mixture.front.sizes[p]) / mixture.weights,
            "predicted_loss": float(mixture.front.costs[p]),
            "chosen": p == place,
        }
        for p in places
    ]
