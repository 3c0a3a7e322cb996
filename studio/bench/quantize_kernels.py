"""`bench quantize-kernels`: the low-bit matrix product against float32, bfloat16 and other kernels.

Every product takes the next of so many copies of its weight that they do not fit the processor's
caches, as the layers of a model do when it writes token after token. The systems take turns of some
products each, so that what else the machine does meets all of them; the median of the turns'
fastest is shown. How fast memory can be read at all is measured in the same run, and with it the
share of that which our 4-bit product reaches.

bitsandbytes runs as its module does, in bfloat16, which is what its fused kernel for AVX-512 takes.
Where SmolLM2-135M is (`models pull smollm2-135m`), a last row has what a token of it takes.
STUDIO_BENCH_SIZES=2048x2048 and STUDIO_BENCH_BATCHES=1 measure less.
"""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from kernels import grouped, int4_matmul
from studio.bench.whole_model import tokens
from studio.config import Settings

TITLE = "Low-bit matrix products on the CPU"

_SIZES = ((576, 576), (1536, 576), (2048, 2048), (4096, 4096))  # out, in
_BATCHES = (1, 4, 8, 16, 64)
_GROUP = 64
_SPREAD = 96 << 20  # bytes that the copies of a weight take together
_MOST_COPIES = 256
_TURN = 4  # products that a system does in a turn; the first, after another system, is not counted
_TURNS = (3, 20)  # at least and at most
_SECONDS = 15.0  # after which a condition has had enough turns

Product = Callable[[Tensor], Tensor]


def run() -> list[dict[str, Any]]:
    """One row a size and batch: milliseconds of each system, GB/s, share of what memory gives."""
    sizes = [part.split("x") for part in _asked("STUDIO_BENCH_SIZES")]
    batches = tuple(int(part) for part in _asked("STUDIO_BENCH_BATCHES")) or _BATCHES
    found = [
        row
        for rows, inputs in [(int(rows), int(inputs)) for rows, inputs in sizes] or _SIZES
        for row in measure(rows, inputs, batches)
    ]
    model = Settings.load().models / "language" / "smollm2-135m"
    return found + ([whole(model)] if model.is_dir() else [])


def _asked(name: str) -> list[str]:
    return [part for part in os.environ.get(name, "").split(",") if part]


def whole(model: Path) -> dict[str, Any]:
    """The row of a whole model: milliseconds a token of each system, as it writes one text."""
    spoken = tokens(model)
    row: dict[str, Any] = {"size": "a token of SmolLM2-135M", "batch": 1}
    row |= {f"{name}_ms": round(1000 / speed, 2) for name, speed in spoken.items()}
    row |= {
        "times_float32": round(spoken["ours_4"] / spoken["float32"], 2),
        "tokens_per_second": round(spoken["ours_4"], 1),
        "tokens_per_second_float32": round(spoken["float32"], 1),
    }
    return row | _machine()


def _machine() -> dict[str, Any]:
    load = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
    return {"threads": torch.get_num_threads(), "load": load}


def measure(rows: int, inputs: int, batches: tuple[int, ...]) -> list[dict[str, Any]]:
    """The rows of one size; the weight is random, in groups of 64."""
    codes = torch.randint(0, 16, (rows, inputs), dtype=torch.uint8)
    scale = (torch.rand(rows, inputs // _GROUP) * 0.01 + 0.01).to(torch.float16)
    systems = _systems(codes, scale)
    ours = int4_matmul.prepare(codes, scale, None, 4)
    found: list[dict[str, Any]] = []
    for batch in batches:
        x = torch.randn(batch, inputs)
        spent = _take_turns(systems, x)
        speed = ours.nbytes / spent["ours_4"] / 1e9
        memory = bandwidth()
        row: dict[str, Any] = {"size": f"{rows} x {inputs}", "batch": batch}
        row |= {f"{name}_ms": round(1000 * seconds, 3) for name, seconds in spent.items()}
        row |= {
            "times_float32": round(spent["float32"] / spent["ours_4"], 2),
            "gb_per_second": round(speed, 1),
            "memory_gb_per_second": round(memory, 1),
            "share_of_memory": round(speed / memory, 2),
            "way": next(iter(ours.ways)),
        }
        found.append(row | _machine())
    return found


def bandwidth(size: int = 256 << 20, piece: int = 2 << 20) -> float:
    """GB/s of reading `size` bytes once, the median of its pieces.

    A piece takes as long as a product does: a busy machine then interrupts both alike.
    """
    data = torch.ones(size // 4)
    spent: list[float] = []
    for part in data.split(piece // 4):
        begun = time.perf_counter()
        part.sum()
        spent.append(time.perf_counter() - begun)
    return piece / median(spent) / 1e9


def _systems(codes: Tensor, scale: Tensor) -> dict[str, list[Product]]:
    """Name -> the same product with different copies of the weight."""
    from bitsandbytes.nn.modules import Linear4bit

    weight = grouped.dequantize(codes, scale, 8)
    nf4 = Linear4bit(
        codes.shape[1],
        codes.shape[0],
        bias=False,
        compute_dtype=torch.bfloat16,
        compress_statistics=False,
        quant_type="nf4",
    )
    nf4.load_state_dict({"weight": weight})
    nf4 = nf4.to("cpu").eval()  # moving it is what quantizes it
    nf4.requires_grad_(False)
    nf4(torch.ones(1, codes.shape[1], dtype=torch.bfloat16))  # it packs itself at the first call
    others = [copy.deepcopy(nf4) for _ in range(_count(codes.numel() // 2))]
    found = {
        "float32": _copies(weight, torch.nn.functional.linear),
        "bfloat16": _copies(
            weight.to(torch.bfloat16),
            lambda x, w: torch.nn.functional.linear(x.to(torch.bfloat16), w),
        ),
        "bitsandbytes_nf4": [
            lambda x, layer=layer: layer(x.to(torch.bfloat16)) for layer in others
        ],
    }
    if codes.shape[0] % 16 == 0:
        found["int4pack"] = _prepared(codes, scale, 4, torch.bfloat16, ("int4pack",))
    for bits in (4, 8, 3, 2):
        reduced = codes if bits >= 4 else codes >> (4 - bits)
        found[f"ours_{bits}"] = _prepared(reduced, scale, bits, torch.float32)
    found["ours_4_bfloat16"] = _prepared(codes, scale, 4, torch.bfloat16)
    return found


def _prepared(
    codes: Tensor,
    scale: Tensor,
    bits: int,
    dtype: torch.dtype,
    ways: tuple[int4_matmul.WayName, ...] = int4_matmul.WAYS,
) -> list[Product]:
    """Products with a weight of ours; by its first way alone, whatever the batch."""
    first = int4_matmul.prepare(codes, scale, None, bits, ways=ways)
    every = [first]
    for _ in range(_count(first.nbytes) - 1):
        every.append(int4_matmul.prepare(codes, scale, None, bits, ways=ways))
    chosen = [next(iter(weight.ways.values())) for weight in every]
    return [lambda x, way=way: way.matmul(x.to(dtype)) for way in chosen]


def _copies(weight: Tensor, multiply: Callable[[Tensor, Tensor], Tensor]) -> list[Product]:
    """Products with copies of `weight`."""
    copies = [weight.clone() for _ in range(_count(weight.nbytes))]
    return [lambda x, copy=copy: multiply(x, copy) for copy in copies]


def _count(size: int) -> int:
    return min(max(-(-_SPREAD // size), _TURN), _MOST_COPIES)


def _take_turns(systems: dict[str, list[Product]], x: Tensor) -> dict[str, float]:
    """Seconds of one product of each system: the median of the turns' fastest."""
    spent: dict[str, list[float]] = {name: [] for name in systems}
    least, most = _TURNS
    begun = time.perf_counter()
    with torch.inference_mode():
        for turn in range(most):
            for name, products in systems.items():
                fastest = float("inf")
                for step in range(_TURN):
                    product = products[(turn * _TURN + step) % len(products)]
                    start = time.perf_counter()
                    product(x)
                    if step:
                        fastest = min(fastest, time.perf_counter() - start)
                spent[name].append(fastest)
            if turn + 1 >= least and time.perf_counter() - begun > _SECONDS:
                break
    return {name: median(seconds) for name, seconds in spent.items()}
