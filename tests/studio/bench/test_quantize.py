"""What `bench quantize` is asked for, and how it goes on after a stop."""

from __future__ import annotations

from pathlib import Path

import pytest

from studio.bench import quantize


def test_systems_and_widths_by_name() -> None:
    assert quantize._wanted("vptq@2,rtn,rtn@3") == [
        ("vptq", 2), ("rtn", 4), ("rtn", 3), ("rtn", 2),
    ]  # fmt: skip
    whole = quantize._wanted("")
    assert len(whole) == len(set(whole)) > 20


def test_what_was_measured_is_not_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[tuple[str, int]] = []

    def apart(case: quantize.Case) -> dict[str, object]:
        measured.append((case.system, case.bits))
        if len(measured) == 2:
            raise KeyboardInterrupt
        return {"system": case.system, "bits": case.bits, "perplexity": 13.5}

    monkeypatch.setattr(quantize, "_apart", apart)
    monkeypatch.setenv("STUDIO_BENCH_MODEL", str(tmp_path))
    monkeypatch.setenv("STUDIO_BENCH_ONLY", "gptq")
    monkeypatch.setenv("STUDIO_BENCH_ROWS", str(tmp_path / "rows.jsonl"))
    with pytest.raises(KeyboardInterrupt):
        quantize.run()
    rows = quantize.run()
    assert [row["bits"] for row in rows] == [4, 3, 2]
    assert measured == [("gptq", 4), ("gptq", 3), ("gptq", 3), ("gptq", 2)]
