"""The model that `bench quantize-memory` makes is one that the engines take, of the size asked."""

from __future__ import annotations

import mmap
import sys
from pathlib import Path

import pytest

from engines.quantize.folder import open_folder
from engines.quantize.skeleton import Skeleton
from engines.quantize.text import tokenizer_of
from studio.bench import quantize_memory


def test_the_model_has_the_size_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantize_memory, "_WIDTHS", {"hidden_size": 64, "intermediate_size": 128})
    monkeypatch.setattr(quantize_memory, "_VOCABULARY", 500)
    folder = open_folder(quantize_memory.write_model(tmp_path / "model", 1_000_000))
    assert folder.bytes == pytest.approx(1e6, rel=0.1)
    assert len(Skeleton(folder).blocks) == len(list(folder.path.glob("block-*")))
    assert tokenizer_of(folder)("noise")["input_ids"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux says it")
def test_memory_of_ones_own_is_seen() -> None:
    before = quantize_memory._own_mb()
    # A fresh mapping: the allocator may serve a bytearray out of pages that are still held.
    with mmap.mmap(-1, 50_000_000, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as held:
        held.write(b"x" * len(held))
        assert quantize_memory._own_mb() > before + 40
