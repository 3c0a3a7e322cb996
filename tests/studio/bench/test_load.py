"""Short versions of `bench load` and `bench faults`: the same studio processes, in seconds."""

from __future__ import annotations

from typing import Any

import pytest

from studio.bench import faults, load

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_three_visitors_at_once_get_what_is_theirs() -> None:
    row = load.visitors(3, 8.0)
    assert row["jobs"] >= 3
    assert row["done"] + row["cancelled"] == row["jobs"]
    assert (row["failed"], row["errors"], row["mixed_up"], row["untrue"]) == (0, 0, 0, 0)


def test_a_queue_whose_studio_is_killed_is_done_once() -> None:
    row = load.killed_queue(40, 1)
    assert (row["done"], row["done_once"], row["untrue"]) == (40, 40, 0)


@pytest.mark.parametrize("fault", faults.FAULTS)
def test_after_a_fault_everything_is_true(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIO_BENCH_KILLS", "3")
    monkeypatch.setenv("STUDIO_BENCH_JOBS", "30")
    row: dict[str, Any] = faults.FAULTS[fault]()
    assert row["done_in_the_end"] == row["jobs"]
    assert (row["lost"], row["twice_or_stray"], row["untrue"]) == (0, 0, 0)
    if fault in ("full disk", "read-only", "lost input"):
        assert row["failed_with_a_sentence"] > 0
