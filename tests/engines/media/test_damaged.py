"""Files that end early or hold wrong bytes: a sentence or a picture, and never anything else."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from engines.base import UserError
from engines.media.raw_file import read_raw

DATA = Path(__file__).parents[2] / "data" / "raw"
ROOT = Path(__file__).parents[3]
NAMES = ["CRW_0304.CRW", "P003908.KDC", "colorchart.dng"]
SHARES = [0.0001, 0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999]


@pytest.mark.parametrize("name", NAMES)
def test_cut_short_anywhere(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    whole = (DATA / name).read_bytes()
    kept = [1, 2, 8, 15, *(int(share * len(whole)) for share in SHARES)]
    kept += [len(whole) - cut for cut in (1000, 100, 2, 1)]
    for size in kept:
        path = tmp_path / name
        path.write_bytes(whole[:size])
        with pytest.raises(UserError, match=r"is not a camera RAW|ends early|is damaged") as caught:
            read_raw(path)
        message = str(caught.value)
        assert "\n" not in message
        told = re.search(r"([\d.]+) of ([\d.]+) (MB|kB|bytes) are there", message)
        if name != "CRW_0304.CRW" and size > 2000:  # a CRW's directory is at its end
            assert told is not None, message
            unit = {"MB": 1e6, "kB": 1e3, "bytes": 1}[told[3]]
            assert float(told[1]) * unit == pytest.approx(size, abs=0.06 * unit)
            assert float(told[2]) * unit == pytest.approx(len(whole), abs=0.06 * unit)
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("name", NAMES)
def test_wrong_bytes(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.engines.media.fuzz", DATA / name, "3", "25", tmp_path],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    outcomes = json.loads(done.stdout)
    assert set(outcomes) <= {"read", "refused"}
    assert sum(outcomes.values()) == 25
    assert outcomes["refused"] > 0
