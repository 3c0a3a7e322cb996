"""What `bench raw-speed` counts and compares."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from engines.raw.yond.arch import GuidedResUnet
from engines.raw.yond.folded import Folded
from studio.bench.raw_cost import flops_a_pixel
from studio.bench.raw_peers import psnr, timed


@pytest.mark.parametrize(("width", "levels"), [(16, 4), (8, 3)])
def test_operations_are_counted_as_torch_counts_them(width: int, levels: int) -> None:
    folded = Folded(GuidedResUnet(width, levels, noise_units=True), torch.tensor([0.01]))
    with FlopCounterMode(display=False) as counter:
        folded(torch.rand(1, 4, 64, 64))
    assert counter.get_total_flops() / 64**2 == pytest.approx(
        flops_a_pixel(width, levels), rel=0.02
    )


def test_a_command_costs_what_its_children_cost_and_failure_says_why(tmp_path: Path) -> None:
    work = "import time; t = time.process_time()\nwhile time.process_time() < t + 0.2: pass"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {work!r}])"
    cost = timed([sys.executable, "-c", child], tmp_path / "log")
    assert cost.cpu_seconds > 0.2
    assert cost.peak_mb > 5
    with pytest.raises(RuntimeError, match="ended with 3: no such camera"):
        timed(
            [sys.executable, "-c", "print('no such camera'); raise SystemExit(3)"], tmp_path / "log"
        )


def test_pictures_are_compared_where_both_are() -> None:
    one = np.full((600, 300, 3), 1000, dtype=np.uint16)
    other = one[:-2, :-4] + np.uint16(655)
    assert psnr(one, other) == pytest.approx(-20.0 * np.log10(655 / 65535), abs=1e-3)
