"""The Triton kernels: their results in Triton's interpreter, and that they compile for a GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from kernels import grouped, int4_matmul

ROOT = Path(__file__).resolve().parents[2]

needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")

COMPILE = """
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from kernels import triton_codebook, triton_grouped

def ptx(kernel, constants, **types):
    every = {name: "constexpr" if name in constants else types.get(name, "i32")
             for name in kernel.arg_names}
    source = ASTSource(fn=kernel, signature=every, constexprs=constants)
    return compile(source, target=GPUTarget("cuda", 80, 32)).asm["ptx"]

tile = {"ROWS": 16, "OUTPUTS": 32, "INPUTS": 64}
grouped = {"words": "*i32", "scale": "*fp16", "zero": "*u8", "table": "*fp32"}
for bits, has_zero, has_table in ((3, True, False), (4, False, True)):
    given = {"BITS": bits, "HAS_ZERO": has_zero, "HAS_TABLE": has_table}
    text = ptx(triton_grouped._matmul, given | tile, x="*bf16", result="*bf16", **grouped)
    assert "mma.sync" in text, "the tensor cores are not used"
del tile["ROWS"]
assert ptx(triton_grouped._dequantize, given | tile, result="*fp32", **grouped)
tile["ROWS"] = 16
books = {"index": "*i32", "book": "*fp32", "second_index": "*i32", "second_book": "*fp32"}
given = {"HAS_SECOND": True}
assert ptx(triton_codebook._matmul, given | tile, x="*fp16", result="*fp16", **books)
"""


def run(*command: str, **environment: str) -> str:
    """Run this Python in a process of its own, which Triton needs to be another; what it said."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


@needs_triton
def test_results_in_the_interpreter() -> None:
    cases = "tests/kernels/triton_cases.py"
    said = run("-m", "pytest", "-q", "-p", "no:cacheprovider", cases, TRITON_INTERPRET="1")
    assert "passed" in said
    assert "skipped" not in said


@needs_triton
@pytest.mark.slow
def test_they_compile_for_a_gpu(tmp_path: Path) -> None:
    run("-c", COMPILE, TRITON_CACHE_DIR=str(tmp_path))


def test_the_modules_import_without_triton() -> None:
    run(
        "-c",
        "import sys; sys.modules['triton'] = None\n"
        "from kernels import int4_matmul, triton_codebook, triton_grouped, triton_here\n"
        "assert not triton_here.INSTALLED",
    )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_weight_on_a_gpu_multiplies(dtype: torch.dtype) -> None:
    codes = torch.randint(0, 16, (96, 256), dtype=torch.uint8)
    scale = (torch.rand(96, 4) + 0.1).to(torch.float16)
    zero = torch.randint(0, 16, scale.shape, dtype=torch.uint8)
    whole = grouped.dequantize(codes, scale, zero)
    weight = int4_matmul.prepare(codes.cuda(), scale.cuda(), zero.cuda(), 4)
    for batch in (1, 7, 300):
        x = torch.randn(batch, 256).to(dtype)
        expected = x.float() @ whole.T
        error = torch.linalg.vector_norm(weight.matmul(x.cuda()).cpu().float() - expected)
        limit = 1e-5 if dtype == torch.float32 else 0.01
        assert error < limit * torch.linalg.vector_norm(expected)
