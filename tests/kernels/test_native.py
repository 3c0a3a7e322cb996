"""The C kernel: built, kept, refused; its portable paths beside the one of this machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from kernels import grouped, int4_matmul, native
from kernels.native import search
from kernels.native.weight import NativeWeight, lanes

pytestmark = pytest.mark.skipif(
    os.name != "posix" or shutil.which("cc") is None, reason="there is no C compiler"
)


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Nothing built yet: an empty cache folder of one's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(native, "FLAGS", (("-O0",),))
    native._attempt.cache_clear()
    yield tmp_path / "cache" / "noise-studio" / "native"
    native._attempt.cache_clear()


def relative_error(got: torch.Tensor, expected: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(got - expected) / torch.linalg.vector_norm(expected))


def portable_flags() -> list[tuple[str, ...]]:
    known = Path("/proc/cpuinfo")
    flags: list[tuple[str, ...]] = [("-O1",)]
    if known.exists() and " avx2 " in known.read_text():
        flags.append(("-O1", "-mavx2", "-mfma"))
    return flags


@pytest.mark.parametrize("options", portable_flags(), ids=" ".join)
def test_what_other_processors_run_is_right_too(options: tuple[str, ...], tmp_path: Path) -> None:
    library = native.open_library(native.build(tmp_path, [options]))
    assert lanes(library) == (8 if "-mavx2" in options else 4)
    native._try_out(library)
    codes = torch.randint(0, 16, (10, 64), dtype=torch.uint8)
    tiny = torch.rand(10, 2).mul(1e-6).to(torch.float16)  # subnormal: exact all the same
    tiny[0] = -tiny[0]
    x = torch.randn(1, 64)
    expected = x @ grouped.dequantize(codes, tiny, 8).T
    assert relative_error(NativeWeight(library, codes, tiny, None, 4).matmul(x), expected) < 1e-5


def test_it_is_built_once_into_a_private_folder(fresh: Path) -> None:
    assert native.load() is not None
    assert native.why_not() == ""
    assert fresh.stat().st_mode & 0o777 == 0o700
    [built] = fresh.iterdir()
    before = built.stat()
    native._attempt.cache_clear()
    assert native.load() is not None
    assert built.stat().st_mtime_ns == before.st_mtime_ns
    assert list(fresh.iterdir()) == [built]


def test_another_source_or_other_options_make_another_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = native._key("cc", native.FLAGS)
    assert native._key("cc", native.FLAGS) == before
    assert native._key("cc", native.FLAGS[:1]) != before
    changed = tmp_path / "changed.c"
    changed.write_text(native.SOURCES[0].read_text() + "\n/* changed */\n")
    monkeypatch.setattr(native, "SOURCES", (changed, *native.SOURCES[1:]))
    assert native._key("cc", native.FLAGS) != before


def test_a_folder_that_others_can_write_to_is_refused(fresh: Path) -> None:
    fresh.mkdir(parents=True)
    fresh.chmod(0o777)
    assert native.load() is None
    assert "chmod 700" in native.why_not()
    shutil.rmtree(fresh)
    fresh.symlink_to(fresh.parent)
    native._attempt.cache_clear()
    assert native.load() is None


def test_switched_off(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOISE_STUDIO_NATIVE", "0")
    assert native.load() is None
    assert "switched off" in native.why_not()
    assert not fresh.exists()


def test_without_a_compiler_or_with_one_that_fails_torch_does_it(
    fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    assert native.load() is None
    assert "no C compiler" in native.why_not()
    (programs / "cc").write_text("#!/bin/sh\necho it is broken >&2\nexit 1\n")
    (programs / "cc").chmod(0o755)
    native._attempt.cache_clear()
    assert native.load() is None
    assert "it is broken" in native.why_not()
    assert list(fresh.iterdir()) == []
    codes, scale = torch.randint(0, 8, (16, 32), dtype=torch.uint8), torch.rand(16, 1)
    weight = int4_matmul.prepare(codes, scale, None, 3)
    assert list(weight.ways) == ["tiles"]
    x = torch.randn(2, 32)
    assert torch.allclose(weight.matmul(x), x @ grouped.dequantize(codes, scale, 4).T, atol=1e-5)


def test_a_library_that_is_wrong_is_not_used(
    fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = native.SOURCES[0].read_text()
    right = "all -= offset"
    assert text.count(right) == 1
    wrong = tmp_path / "wrong.c"
    wrong.write_text(text.replace(right, "all += offset"))
    monkeypatch.setattr(native, "SOURCES", (wrong, *native.SOURCES[1:]))
    assert native.load() is None
    assert "not torch's" in native.why_not()


@pytest.mark.parametrize(("count", "length"), [(16, 1), (256, 3), (4096, 6), (64, 8)])
@pytest.mark.parametrize("own", [False, True])
def test_the_nearest_vectors_are_torchs(count: int, length: int, own: bool) -> None:
    library = native.load()
    assert library is not None, native.why_not()
    vectors, book = torch.randn(131, length), torch.randn(count, length)
    vectors[7] = book[5]
    half = -0.5 * book.square().sum(1) + (torch.rand(131, count) if own else 0)
    near = half + vectors @ book.T
    found = search.find(library, vectors, book, half)
    assert torch.allclose(near[torch.arange(131), found], near.amax(1), atol=1e-5)
    alike = book[:1].repeat(count, 1)
    assert not search.find(library, vectors, alike, torch.zeros(count)).any()  # the first of many
    with pytest.raises(ValueError, match="do not fit"):
        search.find(library, vectors, book, half[..., 1:])


def test_rows_that_do_not_fit_the_kernel_are_refused() -> None:
    library = native.load()
    if library is None:
        pytest.skip(native.why_not())
    codes, scale = torch.randint(0, 4, (16, 32), dtype=torch.uint8), torch.rand(16, 1)
    weight = NativeWeight(library, codes, scale, None, 2)
    for x in (torch.randn(2, 31), torch.randn(2, 2, 32), torch.randn(2, 32).double()):
        with pytest.raises(ValueError, match="rows of 32"):
            weight.matmul(x)
