"""CLIPSep files in the form in which their authors publish them, and our own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engines.base import UserError
from engines.separation.clipsep import CLIPSep, Kind
from engines.separation.model import Separator
from engines.separation.small import SmallSep
from engines.weights import bundled, convert, load, read_model, save_safetensors


@pytest.mark.parametrize(
    ("kind", "said"),
    [("clipsep", ""), ("nit", "noise-invariant"), ("label", "labels only"), ("pit", "no query")],
)
def test_published_files_load(tmp_path: Path, kind: Kind, said: str) -> None:
    torch.manual_seed(1)
    network = CLIPSep(kind, layers=6, channels=8, ngf=4, labels=5).eval()
    file = tmp_path / "best_model.pt"
    torch.save({f"module.{k}": v for k, v in network.state_dict().items()}, file)
    model = convert(file, tmp_path / "mine.safetensors")
    assert model.network == "separation.clipsep/net"
    assert model.state == "yours"
    assert said in model.title
    loaded = load(model, "cpu").network
    assert isinstance(loaded, CLIPSep)
    query = torch.zeros(1, 2, dtype=torch.long) if kind == "label" else torch.randn(1, 2, 512)
    ours, theirs = (one(torch.ones(1, 513, 64), query) for one in (loaded, network))
    assert torch.equal(ours.query, theirs.query)


def test_the_full_size_is_the_authors(tmp_path: Path) -> None:
    file = tmp_path / "clipsep.pt"
    torch.save(CLIPSep("nit").state_dict(), file)
    model = convert(file, tmp_path / "full.safetensors")
    assert model.state == "official"
    assert "sony/CLIPSep" in model.source


def test_ours_are_known_by_their_tensors_too(tmp_path: Path) -> None:
    network = SmallSep((8, 16, 24, 32), (1, 2, 1, 1), 4, kind="nit", words=("dog", "rain"))
    bare = tmp_path / "bare.pt"
    torch.save(network.state_dict(), bare)
    model = convert(bare, tmp_path / "bare.safetensors")
    assert model.network == "separation.clipsep/small"
    assert Separator.of(load(model, "cpu")).words == ("word 1", "word 2")


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda state: state.pop("sound_net.unet_block.model.1.model.2.bias"), "lacks"),
        (lambda state: state.update({"frame_net.bias": torch.zeros(3)}), "differs in frame_net"),
        (lambda state: state.pop("sound_net.unet_block.model.0.weight"), "CLIPSep"),
    ],
)
def test_a_damaged_file_is_refused_with_a_sentence(tmp_path: Path, harm: object, said: str) -> None:
    state = CLIPSep("clipsep", layers=5, channels=4, ngf=4).state_dict()
    harm(state)  # type: ignore[operator]
    file = tmp_path / "clipsep.pt"
    torch.save(state, file)
    with pytest.raises(UserError, match=said):
        convert(file, tmp_path / "mine.safetensors")


def test_another_model_does_not_separate(tmp_path: Path) -> None:

    other = next(one for one in bundled() if one.id == "yond-snrnet-small")
    with pytest.raises(UserError, match="does not separate"):
        Separator.of(load(other, "cpu"))


def test_words_travel_with_the_file(tmp_path: Path) -> None:
    settings = {"widths": [8, 16, 24, 32], "blocks": [1, 1, 1, 1], "words": ["dog", "rain"]}
    network = SmallSep(**settings)
    torch.nn.init.normal_(network.known)
    target = tmp_path / "mine.safetensors"
    halves = {key: value.half() for key, value in network.state_dict().items()}
    save_safetensors(target, halves, {"network": "separation.clipsep/small", "config": settings})

    separator = Separator.of(load(read_model(target, "mine", "yours"), "cpu"))
    assert list(separator.words) == ["dog", "rain"]
    assert torch.allclose(separator.known, network.known, atol=1e-3)
