"""Files that people have on disk: PyTorch's through spandrel, and pairs of ncnn."""

from __future__ import annotations

import os
import pickle
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from engines import weights
from engines.base import UserError
from engines.ncnn_pair import together
from engines.registry import engine_class
from engines.superres.community import library
from engines.superres.community.ncnn_file import NcnnNet
from engines.superres.community.torch_file import Community
from studio.models import Models
from tests.engines.superres.helpers import QuietJob, opened, photo, save

GRAPH = """7767517
3 3
Input data 0 1 data
Convolution mix 1 1 data mixed 0=3 1=1 5=1 6=9
Interp up 1 1 mixed output 0=1 1={scale}.0 2={scale}.0
"""


def ncnn_pair(folder: Path, stem: str, scale: int = 2) -> Path:
    """Swaps red and blue, adds 0.1 to green, repeats pixels."""
    matrix = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]], np.float32)
    folder.mkdir(exist_ok=True)
    graph = folder / f"{stem}.param"
    graph.write_text(GRAPH.format(scale=scale))
    data = np.uint32(0).tobytes() + matrix.tobytes() + np.array([0, 0.1, 0], np.float32).tobytes()
    graph.with_suffix(".bin").write_bytes(data)
    return graph


def compact(folder: Path, name: str = "compact.pth", scale: int = 2) -> Path:
    """A small SRVGGNetCompact as people publish it."""
    library.spandrel()
    from spandrel.architectures.Compact.__arch.SRVGG import SRVGGNetCompact

    torch.manual_seed(0)
    network = SRVGGNetCompact(num_feat=8, num_conv=2, upscale=scale)
    path = folder / name
    if path.suffix == ".safetensors":
        save_file(network.state_dict(), path)
    else:
        torch.save({"params_ema": network.state_dict()}, path)
    return path


class OneModel(QuietJob):
    """Has the weights of one file."""

    def __init__(self, workspace: Path, file: weights.ModelFile) -> None:
        super().__init__(workspace)
        self.file = file

    def load(self, model_id: str) -> weights.LoadedModel:
        assert model_id == self.file.id
        return weights.load(self.file, "cpu")


def enlarged(
    file: weights.ModelFile, folder: Path, scale: float, size: tuple[int, int]
) -> np.ndarray:
    path = save(folder / "a.png", photo(*size))
    kind = engine_class("superres.spandrel")
    params = kind.Params.model_validate({"weights": file.id, "scale": scale})
    outcome = kind().run([path], params, OneModel(folder / "w", file))
    assert outcome.models == {file.id: file.sha256}
    assert outcome.outputs[0].path.name.startswith(f"a-{file.id}-")
    return opened(outcome.outputs[0].path)


@pytest.mark.parametrize("name", ["compact.pth", "compact.safetensors"])
def test_a_file_that_spandrel_knows(name: str, tmp_path: Path) -> None:
    file = weights.convert(compact(tmp_path, name), tmp_path / "mine.safetensors")
    assert file.network == "superres.spandrel/torch"
    assert file.config["architecture"] == "RealESRGAN Compact"
    assert file.config["scale"] == 2
    assert "Compact 2x" in file.title
    assert file.note == "RealESRGAN Compact 2x, added by you"
    again = weights.read_model(file.path, file.id, "yours")
    network = weights.load(again, "cpu").network
    assert isinstance(network, Community)
    lr = torch.rand(1, 3, 20, 31)
    direct = library.spandrel().ModelLoader().load_from_file(tmp_path / name)
    assert torch.equal(network.upscale(lr, (0, 0)), direct(lr))
    assert enlarged(file, tmp_path, 4.0, (20, 30)).shape == (80, 120, 3)


@pytest.mark.parametrize("form", ["param", "bin", "zip"])
def test_a_pair_of_ncnn(form: str, tmp_path: Path) -> None:
    source = ncnn_pair(tmp_path / "pair", "tiny")
    if form == "zip":
        packed = tmp_path / "tiny.zip"
        with zipfile.ZipFile(packed, "w") as file:
            for suffix in (".param", ".bin"):
                file.write(source.with_suffix(suffix), f"folder/tiny{suffix}")
        source = packed
    else:
        source = source.with_suffix(f".{form}")
    found = weights.convert(source, tmp_path / "tiny-2.safetensors")
    assert (found.network, found.config["scale"]) == ("superres.spandrel/ncnn", 2)
    network = weights.load(weights.read_model(found.path, found.id, "yours"), "cpu").network
    assert isinstance(network, NcnnNet)
    lr = torch.rand(1, 3, 20, 31)
    expected = (lr.flip(1) + torch.tensor([0.0, 0.1, 0.0]).reshape(1, 3, 1, 1))[0]
    expected = expected.repeat_interleave(2, 1).repeat_interleave(2, 2)
    assert float((network.upscale(lr, (0, 0))[0] - expected).abs().max()) < 2e-3
    picture = enlarged(found, tmp_path, 2.0, (300, 40))  # more than one tile
    plain = photo(300, 40)[:, :, ::-1].astype(float) + np.array([0, 25.5, 0])
    assert np.abs(picture - plain.clip(0, 255).repeat(2, 0).repeat(2, 1)).max() <= 2.0


def test_they_are_added_listed_and_kept(settings: object, tmp_path: Path) -> None:
    from db.database import close_database, open_database
    from studio.config import Settings

    assert isinstance(settings, Settings)
    factory = open_database(settings.url)
    try:
        models = Models(settings, factory)
        added = [models.add(compact(tmp_path)), models.add(ncnn_pair(tmp_path / "p", "tiny", 3))]
        listed = models.list("superres.spandrel")
        assert [file.id for file in listed] == ["compact", "tiny"]
        assert [file.note for file in listed] == [
            "RealESRGAN Compact 2x, added by you", "ncnn 3x, added by you",
        ]  # fmt: skip
        assert all(dict(models.check())[file.id] == "" for file in added)
        models.remove("tiny")
        assert [file.id for file in models.list("superres.spandrel")] == ["compact"]
    finally:
        close_database(factory)


def test_two_uploads_become_a_pair(tmp_path: Path) -> None:
    graph = ncnn_pair(tmp_path / "one", "tiny")
    (tmp_path / "two").mkdir()
    loose = tmp_path / "two" / "tiny.bin"
    os.replace(graph.with_suffix(".bin"), loose)
    other = tmp_path / "pytorch_model.bin"
    assert together([loose, graph, other]) == [graph, other]
    assert graph.with_suffix(".bin").is_file()


def test_half_a_pair_and_broken_ones_are_one_sentence(tmp_path: Path) -> None:
    def refused(path: Path, sentence: str) -> None:
        with pytest.raises(UserError, match=sentence):
            weights.convert(path, tmp_path / "no.safetensors")
        assert not (tmp_path / "no.safetensors").exists()

    alone = ncnn_pair(tmp_path / "a", "alone")
    alone.with_suffix(".bin").unlink()
    refused(alone, r"put alone\.bin beside it")
    wrong = ncnn_pair(tmp_path / "b", "wrong")
    wrong.write_text("something else")
    refused(wrong, "no graph of ncnn")
    unknown = ncnn_pair(tmp_path / "c", "unknown")
    unknown.write_text(GRAPH.replace("Interp", "Nonsense").format(scale=2))
    refused(unknown, "ncnn cannot read")
    empty = tmp_path / "empty.zip"
    with zipfile.ZipFile(empty, "w") as file:
        file.writestr("readme.txt", "hello")
    refused(empty, r"zip its \.param and \.bin")
    (tmp_path / "damaged.zip").write_bytes(b"PK\x03\x04 and no more")
    refused(tmp_path / "damaged.zip", "damaged")


def test_an_altered_file_is_refused(tmp_path: Path) -> None:
    path = compact(tmp_path, "a.safetensors")
    tensors = weights.read_tensors(path)
    del tensors["body.2.weight"]
    save_file(tensors, path)
    with pytest.raises(UserError, match=r"a\.safetensors"):
        weights.convert(path, tmp_path / "no.safetensors")


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch evil-was-here",)


def test_nothing_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"params": Evil()}))
    torch.save({"params": Evil()}, tmp_path / "zipped.pth")
    for name in ("evil.pth", "zipped.pth"):
        with pytest.raises(UserError):
            weights.convert(tmp_path / name, tmp_path / "no.safetensors")
    assert not (tmp_path / "evil-was-here").exists()


def test_without_the_libraries_a_sentence_says_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, pair = compact(tmp_path), ncnn_pair(tmp_path / "p", "tiny")
    monkeypatch.setattr(library, "find_spec", lambda _name: None)
    with pytest.raises(UserError, match="pip install --no-deps spandrel einops"):
        weights.convert(path, tmp_path / "no.safetensors")
    with pytest.raises(UserError, match="pip install ncnn"):
        weights.convert(pair, tmp_path / "no.safetensors")


def test_the_stand_in_for_torchvision_does_not_stay() -> None:
    library.spandrel()
    assert not [name for name in sys.modules if name.startswith("torchvision")] or (
        getattr(sys.modules["torchvision"], "__file__", None) is not None
    )


def test_no_choice_is_a_sentence(tmp_path: Path) -> None:
    kind = engine_class("superres.spandrel")
    path = save(tmp_path / "a.png", photo(10, 10))
    with pytest.raises(UserError, match="Choose a community upscaler"):
        kind().run([path], kind.Params(), QuietJob(tmp_path / "w"))
