"""Triton where it is installed: the kernels' modules import without it and are then not used.

`triton`, `tl` and `jit` are what the kernels are written with. Set TRITON_INTERPRET=1 before the
first import to run them on a CPU, step by step, as the tests do.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any


def _imported(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        return None


triton: Any = _imported("triton")
tl: Any = _imported("triton.language")

INSTALLED = triton is not None
"""Whether there is a Triton; it needs a GPU besides, or its interpreter."""


def jit(kernel: Callable[..., Any]) -> Any:
    """Compile a kernel at its first launch; without Triton it stays a function nobody calls."""
    return triton.jit(kernel) if INSTALLED else kernel


def blocks(size: int, block: int) -> int:
    """How many blocks cover `size`."""
    return -(-size // block)
