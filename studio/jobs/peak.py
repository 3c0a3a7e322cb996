"""The most memory that a process has held."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import psutil


def forget_peak() -> None:
    """Let the kernel measure from now on (Linux; elsewhere it is the process's)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_mb() -> float | None:
    """Most memory that this process has held since `forget_peak`, or since its start."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024.0
    except OSError:
        pass
    if os.name == "posix":
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (1024.0 * 1024.0 if sys.platform == "darwin" else 1024.0)
    return psutil.Process().memory_info().rss / 2**20
