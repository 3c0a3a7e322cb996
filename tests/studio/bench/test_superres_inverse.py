"""The bench of RED-Diff's tasks: its pictures, its peers, and RED-Diff with weights from a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engines.superres.reddiff.checkpoint import ID
from engines.superres.reddiff.settings import PriorSettings
from engines.superres.reddiff.unet import AdmUnet
from engines.weights import save_safetensors
from studio.bench import superres_inverse
from studio.bench.superres_inverse import originals, strokes, systems, worn


def test_the_sets_are_always_the_same_and_worn() -> None:
    high = originals()[2]
    for task in superres_inverse._SETTINGS:
        low, hole = worn(task, high, 2)
        again, same = worn(task, high, 2)
        assert np.array_equal(low, again)
        assert np.array_equal(hole, same)
        assert low.shape[0] == (64 if task == "enlarge" else 256)
        assert not np.array_equal(low, high)
        assert bool(hole.any()) == (task == "inpaint")
    shares = [strokes(256, number).mean() for number in range(10)]
    assert 0.1 < min(shares) < max(shares) < 0.3


def test_rows_without_a_prior_hold_the_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    crops = originals()[3:5]
    monkeypatch.setattr(superres_inverse, "originals", lambda: crops)
    monkeypatch.setenv("STUDIO_BENCH_SETS", "inpaint,deblur")
    monkeypatch.setenv("STUDIO_BENCH_ONLY", "Telea,NS,damped inverse")
    rows = superres_inverse.run()
    assert [(row["set"], row["system"]) for row in rows] == [
        ("deblur", "as it is"), ("deblur", "damped inverse"), ("inpaint", "Telea"),
        ("inpaint", "NS"),
    ]  # fmt: skip
    assert rows[0]["lead_db"] == rows[2]["lead_db"] == 0.0
    assert rows[1]["lead_db"] > 1.0
    assert rows[2]["psnr_y"] > rows[2]["hole_db"] > 10.0


@pytest.mark.parametrize("task", ["inpaint", "jpeg", "enlarge"])
def test_reddiff_runs_with_weights_from_a_file(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = PriorSettings(
        channels=8, mult=(1, 1, 1, 1), blocks=1, attention=(False,) * 4, groups=8, size=128,
        head_channels=8,
    )  # fmt: skip
    torch.manual_seed(0)
    file = tmp_path / "tiny.safetensors"
    card = {"network": ID, "config": settings.model_dump(mode="json")}
    save_safetensors(file, AdmUnet(settings).state_dict(), card)
    monkeypatch.setenv("STUDIO_BENCH_WEIGHTS", str(file))
    monkeypatch.setenv("STUDIO_BENCH_STEPS", "1")
    high = originals()[6]
    low, hole = worn(task, high, 6)
    found = systems(task)["RED-Diff"](low, hole)
    assert found.shape == high.shape
    if task == "inpaint":
        assert np.array_equal(found[~hole], high[~hole])
