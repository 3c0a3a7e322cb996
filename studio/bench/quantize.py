"""`bench quantize`: what each method leaves of a model, at 4, 3 and 2 bits, beside its peers.

The model is SmolLM2-135M (`models pull smollm2-135m`; decoded from 4 bits, which is the reference
here), or the folder in STUDIO_BENCH_MODEL. Perplexity is taken on 6 windows of 1024 tokens of
Python's own `pydoc_data.topics`; calibration is the bundled text, which is of another kind. Groups
are of 64 weights with zero points, as SmolLM2's rows are not divided by 128. Every system runs in a
process of its own, so that its time and its memory are its own; `core_seconds` is what it kept the
cores busy from reading to judging, which a busy machine hardly changes. Peers that are not
installed are left out: hqq (with termcolor), optimum-quanto and torchao, each by
`pip install --no-deps`.

STUDIO_BENCH_ONLY=awq,vptq@2 names what to run, systems or one width of one; STUDIO_BENCH_WINDOWS=2
shortens the text. STUDIO_BENCH_ROWS=FILE keeps every row as it comes, and what lies there is not
measured again: the whole bench takes hours of one core, and goes on there when it is started again.
Remove the file, or the rows in it that changed code has made untrue.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from engines.base import UserError
from studio.config import Settings
from studio.jobs.peak import forget_peak, peak_mb

TITLE = "Quantized language models: perplexity, size, time and memory"
GROUP, LENGTH, WINDOWS = 64, 1024, 6
SAMPLES, SAMPLE_LENGTH = 32, 512
_BITS = (4, 3, 2)
_GROUPED = ("rtn", "finequant", "gwq", "awq", "gptq", "adadim")
_OURS = {
    **dict.fromkeys(_GROUPED, _BITS),
    "mixed": (4, 3),  # at the size of 2 bits there is nothing narrower to save on
    "zeroquant_fp": (4,),
    "vptq": _BITS,
    "bnb": (4,),
}
_PEERS = {"hqq": _BITS, "quanto": (4, 2), "torchao": _BITS}


@dataclass(frozen=True)
class Case:
    """One system at one width on one model."""

    system: str
    bits: int
    folder: Path
    windows: int


def run() -> list[dict[str, Any]]:
    """One row a system and width; bits a weight count everything that is stored.

    Raises:
        UserError: the model is not here.
    """
    folder = Path(os.environ.get("STUDIO_BENCH_MODEL", "")) if _named() else _pulled()
    windows = int(os.environ.get("STUDIO_BENCH_WINDOWS", WINDOWS))
    kept = Kept(os.environ.get("STUDIO_BENCH_ROWS"))
    rows: list[dict[str, Any]] = []
    for system, bits in _wanted(os.environ.get("STUDIO_BENCH_ONLY", "")):
        found = kept.row(system, bits)
        if found is None:
            try:
                found = _apart(Case(system, bits, folder, windows))
            except UserError as error:
                sys.stderr.write(f"{system} at {bits} bits: {error}\n")
                continue
            kept.add(found)
            sys.stderr.write(f"{found}\n")
        rows.append(found)
    return rows


def _wanted(only: str) -> list[tuple[str, int]]:
    """Systems and widths that `only` names, all without it, in its order or else the bench's."""
    whole = [(system, bits) for system, widths in (_OURS | _PEERS).items() for bits in widths]
    names = [one for one in only.split(",") if one]
    named = [
        (system, bits)
        for name in names
        for system, bits in whole
        if name in (system, f"{system}@{bits}")
    ]
    return list(dict.fromkeys(named)) or whole


class Kept:
    """Rows of an earlier run in a file of JSON lines; without a path nothing is kept."""

    def __init__(self, path: str | None) -> None:
        self._path = Path(path) if path else None
        lines = (
            self._path.read_text(encoding="utf-8").splitlines()
            if self._path and self._path.exists()
            else []
        )
        self._rows: list[dict[str, Any]] = [json.loads(line) for line in lines if line.strip()]

    def row(self, system: str, bits: int | str) -> dict[str, Any] | None:
        """What was measured of a system at a width; None where it was not."""
        rows = (row for row in self._rows if (row["system"], row["bits"]) == (system, bits))
        return next(rows, None)

    def add(self, row: dict[str, Any]) -> None:
        """Keep a row at once."""
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


def _named() -> bool:
    return bool(os.environ.get("STUDIO_BENCH_MODEL"))


def _pulled() -> Path:
    folder = Settings.load().models / "language" / "smollm2-135m"
    if not folder.is_dir():
        raise UserError("The model is not here; fetch it with: models pull smollm2-135m")
    return folder


def _apart(case: Case) -> dict[str, Any]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(measure, case).result()
        except BrokenProcessPool as error:
            raise UserError("its process ended; there may be too little memory") from error


def measure(case: Case) -> dict[str, Any]:
    """Quantize and judge in this process.

    Raises:
        UserError: a package that it needs is not here, or the model cannot be used.
    """
    import transformers

    transformers.logging.set_verbosity_error()
    begun, worked = time.monotonic(), time.process_time()
    if case.system in _PEERS:
        try:
            found = _peer(case)
        except ImportError as error:
            raise UserError(f"it needs {error.name}, which is not installed") from error
    else:
        found = _ours(case)
    return {
        "system": case.system,
        "bits": case.bits,
        **{name: round(value, 3) for name, value in found.items()},
        "seconds_in_all": round(time.monotonic() - begun, 1),
        "core_seconds": round(time.process_time() - worked, 1),
        "peak_mb": round(peak_mb() or 0.0),
    }


def _texts(folder: Any, windows: int) -> tuple[Any, Any]:
    """Windows to calibrate with and to judge on."""
    from pydoc_data.topics import topics

    from engines.quantize.text import (
        CALIBRATION,
        read_text,
        shuffled_windows,
        straight_windows,
        tokenizer_of,
    )

    tokenizer = tokenizer_of(folder)
    text = read_text(CALIBRATION)
    judged = "\n\n".join(topics[name] for name in sorted(topics))
    return (
        shuffled_windows(tokenizer, text, SAMPLES, SAMPLE_LENGTH, 42),
        straight_windows(tokenizer, judged, windows * LENGTH, LENGTH),
    )


def _ours(case: Case) -> dict[str, float]:
    from engines.quantize import walk as walking
    from engines.quantize.folder import open_folder
    from engines.quantize.gradients import sweep
    from engines.quantize.layers import Grid
    from engines.quantize.params import GridParams
    from engines.quantize.plan import mixtures
    from engines.quantize.scratch import Scratch
    from engines.quantize.skeleton import Skeleton

    method = _method(case.system)
    grid = Grid(case.bits, GROUP, symmetric=False)
    folder = open_folder(case.folder)
    told, judged = _texts(folder, case.windows)
    if method.uses != "activations":  # as the engines: enough to take errors on
        told = told[:4]
    skeleton = Skeleton(folder)
    with TemporaryDirectory() as name:
        scratch = Path(name)
        forget_peak()
        plan: Callable[[str], Grid | None] = lambda _: grid  # noqa: E731
        begun = time.monotonic()
        if method.uses == "gradients":
            sweep(
                skeleton, told[:1], scratch, "gradients",
                lambda _p, weight, x, g: method.see_gradient(weight, g.T @ x), _pass, _still,
            )  # fmt: skip
        if case.system == "mixed":
            params = GridParams(group_size=GROUP, symmetric=False)
            found = mixtures(
                skeleton, params, told, scratch, extra=0.0, check=_pass, progress=_still
            )
            place = found.within(sum(one.size for one in found.uniform()[case.bits]))
            plan = found.front.grids(place).get
        before = time.monotonic() - begun
        walked = walking.walk(
            skeleton, method, plan, calibration=told, evaluation=judged,
            scratch=Scratch(scratch), check=_pass, progress=_still,
        )  # fmt: skip
    layers = [layer for block in walked.blocks for layer in block.layers]
    weights = sum(layer.weights for layer in layers)
    return {
        "perplexity": walked.perplexity,
        "perplexity_original": walked.perplexity_original,
        "divergence": walked.divergence,
        "bits_per_weight": sum(layer.bits * layer.weights for layer in layers) / weights,
        "seconds": before + sum(block.seconds for block in walked.blocks),
    }


def _method(system: str) -> Any:
    """The method as its engine makes it by default; the mixture rounds with GPTQ."""
    from engines.registry import engine_class

    kind: Any = engine_class("quantize.gptq" if system == "mixed" else f"quantize.{system}")
    return kind().work(kind.Params()).method


def _pass() -> None: ...


def _still(done: float, total: float, text: str) -> None: ...


def _peer(case: Case) -> dict[str, float]:
    import torch

    from engines.quantize.folder import open_folder
    from engines.quantize.runtime import load_model
    from engines.quantize.stream import window_loss
    from engines.quantize.text import perplexity_of

    rounding = {"hqq": _hqq, "quanto": _quanto, "torchao": _torchao}[case.system]
    rounding(torch.eye(GROUP), case.bits)  # imports, and what is compiled at the first call
    _, judged = _texts(open_folder(case.folder), case.windows)
    model = load_model(case.folder).model

    def perplexity() -> float:
        with torch.no_grad():
            losses = [window_loss(model(input_ids=row[None]).logits[0], row) for row in judged]
        return perplexity_of(torch.stack(losses))

    original = perplexity()
    forget_peak()
    begun = time.monotonic()
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and name != "lm_head":
            module.weight.data.copy_(rounding(module.weight.data, case.bits))
    seconds = time.monotonic() - begun
    return {
        "perplexity": perplexity(),
        "perplexity_original": original,
        "bits_per_weight": case.bits + 32.0 / GROUP,
        "seconds": seconds,
    }


def _hqq(weight: Any, bits: int) -> Any:
    import torch

    quantizer: Any = import_module("hqq.core.quantize").Quantizer
    codes, meta = quantizer.quantize(
        weight, nbits=bits, channel_wise=True, group_size=GROUP, optimize=True, axis=1,
        device="cpu", compute_dtype=torch.float32,
    )  # fmt: skip
    return quantizer.dequantize(codes, meta)


def _quanto(weight: Any, bits: int) -> Any:
    quanto: Any = import_module("optimum.quanto")
    kind = {4: quanto.qint4, 2: quanto.qint2}[bits]
    scale, shift = quanto.MaxOptimizer()(weight, kind, 0, GROUP)
    return quanto.quantize_weight(weight, kind, 0, scale, shift, GROUP).dequantize()


def _torchao(weight: Any, bits: int) -> Any:
    import torch

    torchao: Any = import_module("torchao.quantization")
    rows, columns = weight.shape
    held = torch.nn.Sequential(torch.nn.Linear(columns, rows, bias=False))
    held[0].weight.data = weight.clone()
    config = torchao.IntxWeightOnlyConfig(
        weight_dtype=getattr(torch, f"int{bits}"), granularity=torchao.PerGroup(GROUP),
        mapping_type=torchao.MappingType.ASYMMETRIC,
    )  # fmt: skip
    torchao.quantize_(held, config)
    made: Any = held[0].weight
    return made.dequantize()
