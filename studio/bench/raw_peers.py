"""RAW converters of others, run without a window on a DNG file, and what a command costs.

Both come with Debian (`apt-get install darktable rawtherapee`). darktable's profiled denoise takes
its profile by camera and ISO, and a general one where it does not know the camera; its parameters
here are the defaults, in its own binary form, or the defaults with a noise line that it is told.
"""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint16]
Line = tuple[float, float]  # darktable's a and b: variance = a (x + b), x from 0 to 1

_BETWEEN = """
import json, os, subprocess, sys
child = subprocess.Popen(sys.argv[1:], stdout=sys.stderr)
_, status, used = os.wait4(child.pid, 0)
code = os.waitstatus_to_exitcode(status)
print(json.dumps([code, used.ru_utime + used.ru_stime, used.ru_maxrss]))
"""
_WAVELETS, _NON_LOCAL = 4, 3  # darktable's modes, both with automatic parameters
_PYRAMID = """[Directional Pyramid Denoising]
Enabled=true
Enhance=false
Median=false
Luma=40
Ldetail=50
Chroma=15
Method=Lab
LMethod=SLI
CMethod=AUT
C2Method=AUTO
SMethod=shal
Gamma=1.7
Passes=1
"""


@dataclass(frozen=True)
class Cost:
    """Of a whole process and its children: seconds, CPU-seconds, and MB of the largest one."""

    seconds: float
    cpu_seconds: float
    peak_mb: float


Develop = Callable[[Path, Path], Cost]


def timed(command: Sequence[str], log: Path) -> Cost:
    """Run a command to its end; its output goes to `log`.

    Raises:
        RuntimeError: it failed; the log's end is in the message.
    """
    # A child counts as large as the process that it is forked from, so a small one stands between.
    between = [sys.executable, "-I", "-S", "-c", _BETWEEN, *command]
    begun = time.perf_counter()
    with log.open("wb") as out:
        done = subprocess.run(  # noqa: S603 - our own commands
            between, stdout=subprocess.PIPE, stderr=out, stdin=subprocess.DEVNULL, check=False
        )
    seconds = time.perf_counter() - begun
    code, cpu_seconds, peak = json.loads(done.stdout)
    if code:
        end = log.read_text(errors="replace")[-500:]
        raise RuntimeError(f"{Path(command[0]).name} ended with {code}: {end}")
    return Cost(seconds, cpu_seconds, peak / 1024.0)


def darktable(mode: int | None, line: Line | None = None) -> Develop:
    """Develop `source` into the 16-bit TIFF `target`; `mode` is that of profiled denoise, `line`
    the noise that it is told.
    """

    def develop(source: Path, target: Path) -> Cost:
        with TemporaryDirectory() as name:
            folder = Path(name)
            side = folder / "side.xmp"
            side.write_text(_sidecar(mode, line))
            command = [
                "darktable-cli", str(source), str(side), str(target), "--hq", "true",
                "--icc-type", "SRGB", "--core", "--library", ":memory:",
                "--configdir", str(folder / "config"), "--disable-opencl",
                "--conf", "plugins/imageio/format/tiff/bpp=16",
            ]  # fmt: skip
            return timed(command, folder / "log")

    return develop


def rawtherapee(denoised: bool) -> Develop:
    """Develop `source` into the 16-bit TIFF `target`.

    Not by RawTherapee's default profile: that gives a picture the brightness of its preview.
    """

    def develop(source: Path, target: Path) -> Cost:
        with TemporaryDirectory() as name:
            folder = Path(name)
            settings = folder / "set.pp3"
            settings.write_text(_PYRAMID if denoised else "[Version]\nAppVersion=5.9\n")
            command = [
                "rawtherapee-cli", "-o", str(target), "-b16", "-t", "-Y",
                "-p", str(settings), "-c", str(source),
            ]  # fmt: skip
            return timed(command, folder / "log")

    return develop


PROGRAMS = {"darktable": "darktable-cli", "RawTherapee": "rawtherapee-cli"}


def modes(converter: str, wavelets: Line, non_local: Line) -> dict[str, Develop]:
    """What is run of a converter, plainly first; darktable is told these lines too."""
    if converter == "RawTherapee":
        return {"plain": rawtherapee(False), "noise reduction": rawtherapee(True)}
    return {
        "plain": darktable(None),
        "wavelets": darktable(_WAVELETS),
        "wavelets, told the noise": darktable(_WAVELETS, wavelets),
        "non-local means": darktable(_NON_LOCAL),
        "non-local means, told the noise": darktable(_NON_LOCAL, non_local),
    }


def there(converter: str) -> bool:
    """Whether it is installed."""
    return shutil.which(PROGRAMS[converter]) is not None


def read_picture(path: Path) -> Picture:
    """(H, W, 3) uint16 of a developed TIFF."""
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if picture is None or picture.dtype != np.uint16:
        raise RuntimeError(f"{path.name} is no 16-bit picture")
    return np.asarray(picture[..., :3], dtype=np.uint16)


def psnr(one: Picture, other: Picture) -> float:
    """dB, peak 1, over the pixels that both have, without a border of 16."""
    height, width = (min(a, b) - 16 for a, b in zip(one.shape[:2], other.shape[:2], strict=True))
    total = 0.0
    for top in range(16, height, 256):
        rows = slice(top, min(top + 256, height))
        difference = one[rows, 16:width].astype(np.float32) - other[rows, 16:width]
        total += float(np.square(difference, dtype=np.float64).sum())
    mean = total / ((height - 16) * (width - 16) * 3)
    return float(-10.0 * np.log10(mean / 65535.0**2))


def _sidecar(mode: int | None, line: Line | None) -> str:
    history = ""
    if mode is not None:
        x = [i / 6 for i in range(7)] * 6
        a, b = line or (-1.0, 0.0)  # -1: by camera and ISO
        values = [1.0, 7.0, 1.0, 1.0, 0.0, 0.0, 0.1, 1.0, a, a, a, b, b, b]
        params = struct.pack("<14f", *values) + struct.pack("<i", mode)
        params += struct.pack("<42f", *x) + struct.pack("<42f", *[0.5] * 42)
        params += struct.pack("<4i", 1, 1, 1, 1)
        history = (
            '<rdf:li darktable:num="0" darktable:operation="denoiseprofile" darktable:enabled="1" '
            f'darktable:modversion="11" darktable:params="{params.hex()}" '
            'darktable:multi_name="" darktable:multi_priority="0"/>'
        )
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:darktable="http://darktable.sf.net/"
 darktable:xmp_version="5" darktable:raw_params="0" darktable:auto_presets_applied="0"
 darktable:history_end="{int(mode is not None)}" darktable:iop_order_version="2">
<darktable:history><rdf:Seq>{history}</rdf:Seq></darktable:history>
</rdf:Description></rdf:RDF></x:xmpmeta>
"""
