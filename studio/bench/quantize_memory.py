"""`bench quantize-memory`: the memory that quantizing a model takes which is larger than it.

The model is a Llama of random weights in bfloat16, all blocks alike, of STUDIO_BENCH_GB (6) on the
disk, a file a block; every engine of STUDIO_BENCH_ONLY (rtn,gptq) does it whole, from folder to
folder, in a process of its own. That may hold no more memory of its own than 1 / STUDIO_BENCH_TIMES
(3) of the model: more is refused by the system (RLIMIT_DATA, Linux), and the row is left out.

`own_mb` is the most that the process held of its own, `start_mb` what it held with everything
imported; `peak_mb` counts pages of files as well, which the system takes back when it needs them.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from engines.base import UserError
from studio.bench.job import BenchJob
from studio.config import Settings
from studio.jobs.peak import forget_peak, peak_mb
from studio.language import BUNDLED

TITLE = "Quantizing a model larger than memory: the most that is held"
_WIDTHS: dict[str, Any] = {"hidden_size": 2048, "intermediate_size": 5632}
_HEADS: dict[str, Any] = {"num_attention_heads": 16, "num_key_value_heads": 16}
_VOCABULARY = 32_000
_SMALL: dict[str, Any] = {
    "samples": 4,
    "length": 64,
    "evaluate": 256,
    "speed": False,
}  # memory, not quality
_TOKENIZER = "lm-small"  # of the model that ships


@dataclass(frozen=True)
class Case:
    """One engine on a model, with so many bytes of its own."""

    engine: str
    model: Path
    limit: int


def run() -> list[dict[str, Any]]:
    """One row an engine.

    Raises:
        UserError: there is too little room on the disk, or this is not Linux.
    """
    if not sys.platform.startswith("linux"):
        raise UserError("Memory can only be limited and told apart like this on Linux")
    size = int(float(os.environ.get("STUDIO_BENCH_GB", "6")) * 1e9)
    times = float(os.environ.get("STUDIO_BENCH_TIMES", "3"))
    engines = os.environ.get("STUDIO_BENCH_ONLY", "rtn,gptq").split(",")
    room = Settings.load().cache
    room.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(room).free < 2 * size:
        raise UserError(f"The model and its copies take {2 * size / 1e9:.3g} GB in {room}")
    rows: list[dict[str, Any]] = []
    with TemporaryDirectory(dir=room) as name:
        model = write_model(Path(name) / "model", size)
        held = sum(path.stat().st_size for path in model.glob("*.safetensors"))
        for engine in engines:
            try:
                found = _apart(Case(engine, model, int(held / times)))
            except UserError as error:
                sys.stderr.write(f"{engine}: {error}\n")
                continue
            sys.stderr.write(f"{found}\n")
            rows.append(found)
    return rows


def write_model(folder: Path, size: int) -> Path:
    """Write a model of about `size` bytes; returns `folder`."""
    import torch
    from safetensors.torch import save_file
    from transformers import LlamaConfig

    folder.mkdir()
    hidden, inner = _WIDTHS["hidden_size"], _WIDTHS["intermediate_size"]

    def random(*shape: int) -> torch.Tensor:
        return torch.empty(shape, dtype=torch.bfloat16).normal_(0.0, shape[-1] ** -0.5)

    block = {f"self_attn.{name}_proj.weight": random(hidden, hidden) for name in "qkvo"}
    block |= {f"mlp.{name}_proj.weight": random(inner, hidden) for name in ("gate", "up")}
    block["mlp.down_proj.weight"] = random(hidden, inner)
    for name in ("input_layernorm", "post_attention_layernorm"):
        block[f"{name}.weight"] = torch.ones(hidden, dtype=torch.bfloat16)
    outside = {
        "model.embed_tokens.weight": random(_VOCABULARY, hidden),
        "model.norm.weight": torch.ones(hidden, dtype=torch.bfloat16),
    }
    rest = size - sum(value.nbytes for value in outside.values())
    blocks = max(1, round(rest / sum(value.nbytes for value in block.values())))
    save_file(outside, folder / "outside.safetensors")
    for number in range(blocks):
        named = {f"model.layers.{number}.{name}": value for name, value in block.items()}
        save_file(named, folder / f"block-{number:03}.safetensors")
    LlamaConfig(
        vocab_size=_VOCABULARY, num_hidden_layers=blocks, max_position_embeddings=2048,
        tie_word_embeddings=True, architectures=["LlamaForCausalLM"], **_WIDTHS, **_HEADS,
    ).save_pretrained(folder)  # fmt: skip
    for path in (BUNDLED / _TOKENIZER).glob("tokenizer*"):
        shutil.copy(path, folder)
    return folder


def _apart(case: Case) -> dict[str, Any]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(measure, case).result()
        except (BrokenProcessPool, MemoryError, RuntimeError) as error:
            raise UserError(f"{case.limit / 1e6:.0f} MB did not do: {error}") from error


def measure(case: Case) -> dict[str, Any]:
    """Quantize in this process, which may not grow beyond the limit from now on.

    Raises:
        UserError: the model cannot be used.
        MemoryError, RuntimeError: it needed more.
    """
    import resource

    import torch
    import transformers

    from engines.quantize import process
    from engines.registry import engine_class

    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    process.WHOLE_SHARE = 0.0  # as where the result cannot be loaded whole to be compared
    kind: Any = engine_class(f"quantize.{case.engine}")
    start = _own_mb()
    resource.setrlimit(resource.RLIMIT_DATA, (case.limit, case.limit))
    forget_peak()
    begun, worked = time.monotonic(), time.process_time()
    with TemporaryDirectory(dir=case.model.parent) as name, _Watch() as watch:
        result = kind().run([case.model], kind.Params(**_SMALL), _Job(Path(name)))
    size = sum(path.stat().st_size for path in case.model.glob("*.safetensors")) / 1e6
    return {
        "engine": case.engine,
        "model_mb": round(size),
        "limit_mb": round(case.limit / 1e6),
        "start_mb": round(start),
        "own_mb": round(watch.most),
        "peak_mb": round((peak_mb() or 0.0) * 2**20 / 1e6),
        "model_over_own": round(size / watch.most, 2),
        "result_mb": round(result.measurements["size_mb"].value),
        "seconds": round(time.monotonic() - begun, 1),
        "core_seconds": round(time.process_time() - worked, 1),
    }


class _Job(BenchJob):
    """Unfinished work lies beside what is made."""

    def resumable(self, key: str) -> Path:
        folder = self.workspace / "unfinished"
        folder.mkdir(exist_ok=True)
        return folder


@dataclass
class _Watch:
    """Looks twenty times a second at what the process holds of its own.

    Attributes:
        most: MB (10^6 bytes).
    """

    most: float = 0.0
    _done: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> _Watch:
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(0.05):
            self.most = max(self.most, _own_mb())


def _own_mb() -> float:
    """What this process holds that is no page of a file, in MB (10^6 bytes)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:")) * 1024 / 1e6
