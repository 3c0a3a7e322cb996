"""The kernels that are written in C: built where a compiler is, once for each machine.

The C files beside this one are compiled with the machine's `cc` for its own processor into
`$XDG_CACHE_HOME/noise-studio/native` (else `~/.cache/...`), a folder that nobody else may write to,
under a name made of the source, the compiler and the processor. What was built is tried against
torch before it is used. Where any of this fails, `load` returns None and `why_not` says why; the
callers then have their own way in torch. NOISE_STUDIO_NATIVE=0 switches all of it off.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import stat
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from kernels import codebook, grouped
from kernels.native import search
from kernels.native.vectors import NativeVectors
from kernels.native.weight import BITS, NativeWeight

_FILES = ("lowbit.c", "codebook.c", "nearest.c", "pool.c", "lanes.h", "pool.h", "rows.h")
SOURCES = tuple(Path(__file__).with_name(name) for name in _FILES)

FLAGS: tuple[tuple[str, ...], ...] = (
    ("-O2", "-march=native"),
    ("-O2", "-mcpu=native"),
    ("-O2",),
)
"""Tried in this order: not every compiler knows its own processor by that name."""

_TIMEOUT = 120.0  # seconds for one compilation; it takes two
_LEAST_ERROR = 1e-5  # of the self-test, relative to the norm of the result
_lock = threading.Lock()


class Unavailable(Exception):
    """There is no native kernel here; the text says why in one sentence."""


def load() -> ctypes.CDLL | None:
    """The library, built at the first call on a machine (seconds) and tried; None without one."""
    with _lock:
        return _attempt()[0]


def why_not() -> str:
    """One sentence about why `load` returned None; empty where it did not."""
    with _lock:
        return _attempt()[1]


@lru_cache(maxsize=1)
def _attempt() -> tuple[ctypes.CDLL | None, str]:
    try:
        library = open_library(build(cache_folder()))
        _try_out(library)
    except Unavailable as reason:
        return None, str(reason)
    except (OSError, subprocess.SubprocessError) as error:
        return None, f"The native kernel could not be built: {error}"
    return library, ""


def cache_folder() -> Path:
    """The folder of what was built, made where it is missing.

    Raises:
        Unavailable: it is switched off, this is Windows, or others could write to the folder.
        OSError: the folder cannot be made.
    """
    if os.environ.get("NOISE_STUDIO_NATIVE") == "0":
        raise Unavailable("The native kernel is switched off by NOISE_STUDIO_NATIVE=0.")
    if os.name != "posix":
        raise Unavailable("The native kernel is built on Linux and macOS only.")
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(cache).expanduser() / "noise-studio" / "native"
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise Unavailable(
            f"Others may write to {folder}: give it to yourself alone (chmod 700), or remove it."
        )
    return folder


def build(folder: Path, flags: Sequence[Sequence[str]] = FLAGS) -> Path:
    """Compile the source into `folder`, or find it compiled.

    Args:
        folder: where the libraries lie; `cache_folder()`.
        flags: the options to try, in this order.

    Raises:
        Unavailable: there is no compiler, or it refused every set of options.
        OSError: `folder` cannot be written to.
    """
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise Unavailable("There is no C compiler here (cc) to build the native kernel with.")
    target = folder / f"kernels-{_key(compiler, flags)}.so"
    if target.exists():
        return target
    said = ""
    for options in flags:
        # Under a name of its own until it is whole: several processes may build at once.
        handle, name = tempfile.mkstemp(dir=folder, suffix=".part")
        os.close(handle)
        try:
            code = [str(source) for source in SOURCES if source.suffix == ".c"]
            place = f"-I{Path(__file__).parent}"
            command = [compiler, *options, "-pthread", "-shared", "-fPIC", place, "-o", name, *code]
            made = subprocess.run(  # noqa: S603 - fixed arguments
                command, capture_output=True, text=True, timeout=_TIMEOUT, check=False
            )
            if made.returncode == 0:
                Path(name).replace(target)
                return target
            said = made.stderr.strip()
        finally:
            Path(name).unlink(missing_ok=True)
    raise Unavailable(f"{compiler} could not build the native kernel: {said[-300:]}")


def open_library(path: Path) -> ctypes.CDLL:
    """Load a built library and say what its functions take."""
    library = ctypes.CDLL(str(path))
    for asked in (library.lowbit_lanes, library.lowbit_short_bits):
        asked.restype = ctypes.c_int
    pointers = [ctypes.c_void_p] * 4  # the weight, x, y, room
    for product in (
        library.lowbit_matmul,
        library.lowbit_matmul_short,
        library.codebook_matmul,
    ):
        product.restype = ctypes.c_int
        product.argtypes = [*pointers, ctypes.c_int64, ctypes.c_int]
    library.nearest_find.restype = ctypes.c_int
    library.nearest_find.argtypes = [ctypes.c_void_p, ctypes.c_int]
    return library


def _key(compiler: str, flags: Sequence[Sequence[str]]) -> str:
    """Changes with the source, the options, the compiler and the processor."""
    version = subprocess.run(  # noqa: S603 - fixed arguments
        [compiler, "--version"], capture_output=True, text=True, timeout=_TIMEOUT, check=False
    ).stdout
    code = (source.read_text() for source in SOURCES)
    parts = (*code, repr(flags), compiler, version, _processor())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _processor() -> str:
    """What the processor is and can do."""
    known = [platform.machine(), platform.processor(), platform.system()]
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return "\n".join(known)
    wanted = ("model name", "flags", "Features", "CPU part", "isa")
    lines = text.partition("\n\n")[0].splitlines()
    return "\n".join(known + [line for line in lines if line.startswith(wanted)])


def _try_out(library: ctypes.CDLL) -> None:
    """Hold the library to torch: every number of bits, zero points, names, books, searches.

    Raises:
        Unavailable: a result is not within 1e-5 of torch's.
    """
    made = torch.Generator().manual_seed(0)

    def whole(top: int, *shape: int) -> Tensor:
        return torch.randint(0, top, shape, generator=made, dtype=torch.int32).to(torch.uint8)

    def compare(weight: NativeWeight | NativeVectors, dense: Tensor) -> None:
        x = torch.randn(15, dense.shape[1], generator=made).to(torch.bfloat16)
        expected = x.to(torch.float32) @ dense.T
        results = [weight.matmul(x.to(torch.float32))]
        if isinstance(weight, NativeWeight) and weight.takes_bfloat16:
            results.append(weight.matmul(x))
        for result in results:
            error = torch.linalg.vector_norm(result - expected)
            if not error <= _LEAST_ERROR * torch.linalg.vector_norm(expected):
                raise Unavailable("The native kernel was built, but its results are not torch's.")

    scale = (torch.rand(36, 2, generator=made) + 0.1).to(torch.float16)
    for bits in BITS:
        codes, zero = whole(1 << bits, 36, 128), whole(1 << bits, 36, 2)
        for moved in (None, zero):
            dense = grouped.dequantize(codes, scale, 1 << (bits - 1) if moved is None else moved)
            compare(NativeWeight(library, codes, scale, moved, bits), dense)
    codes, names = whole(16, 36, 128), torch.randn(16, generator=made)
    dense = codebook.lookup(codes, names) * scale.repeat_interleave(64, 1)
    compare(NativeWeight(library, codes, scale, None, 4, names=names), dense)
    for length in (3, 8, 10):
        indices = [whole(size, -(-37 // length), 41) for size in (200, 7)]
        books = [torch.randn(size, length, generator=made) for size in (200, 7)]
        compare(NativeVectors(library, indices, books, 37), codebook.decode(indices, books, 37))
    vectors, book = torch.randn(37, 6, generator=made), torch.randn(48, 6, generator=made)
    near = torch.addmm(book.square().sum(1).mul_(-0.5), vectors, book.T)
    found = search.find(library, vectors, book, book.square().sum(1).mul_(-0.5))
    if not torch.allclose(near[torch.arange(37), found], near.amax(1), atol=1e-5):
        raise Unavailable("The native kernel was built, but what it finds is not the nearest.")
