"""Networks of the CLIPSep family: against the authors' numbers, and what their masks are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from engines.base import UserError
from engines.separation.clipsep import CLIPSep, Kind
from engines.separation.model import BINS, Separator
from engines.separation.small import SmallSep
from engines.weights import verify

GOLDEN = Path(__file__).parents[2] / "data" / "golden"
KINDS: list[Kind] = ["clipsep", "nit", "label", "pit"]


def test_the_authors_network_computes_the_same() -> None:
    [check] = verify(GOLDEN / "clipsep-l5c4.safetensors", tolerance=1e-5)
    assert check.ok, check


@pytest.mark.parametrize(("kind", "name"), [("clipsep", "clipsep"), ("pit", "pitsep")])
def test_layouts_are_the_authors(kind: Kind, name: str) -> None:
    lines = (GOLDEN / f"clipsep-{name}.layout.tsv").read_text().splitlines()
    wanted = [tuple(line.split("\t")) for line in lines if not line.startswith("#")]
    with torch.device("meta"):
        state = CLIPSep(kind).state_dict()
    ours = [
        (key, "x".join(map(str, value.shape)) or "scalar", str(value.dtype).removeprefix("torch."))
        for key, value in state.items()
    ]
    assert ours == wanted


WORDS = ("dog", "rain")


def small(kind: Kind = "nit", words: tuple[str, ...] = WORDS) -> SmallSep:
    torch.manual_seed(3)
    network = SmallSep((8, 16, 24, 32), (1, 1, 1, 1), 4, kind=kind, words=words)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, 0.0, 0.1)
    return network.eval()


def tiny(kind: Kind) -> CLIPSep:
    torch.manual_seed(3)
    network = CLIPSep(kind, layers=5, channels=4, ngf=4, labels=3)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, 0.0, 0.3)
    return network.eval()


def asked(network: CLIPSep | SmallSep, count: int) -> Tensor:
    if network.kind == "label":
        return torch.arange(count) % 2
    return torch.randn(count, network.embedding, generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("make", [small, tiny])
@pytest.mark.parametrize("frames", [1, 37, 64])
def test_masks_of_any_length(make: type, kind: Kind, frames: int) -> None:
    network = make(kind)
    separator = Separator(network)
    magnitude = torch.rand(2, BINS, frames)
    masks = separator.masks(magnitude, asked(network, 3))
    assert masks.query.shape == (0 if kind == "pit" else 3, 2, BINS, frames)
    assert (masks.noise is not None) == separator.heads == (kind in ("nit", "pit"))
    for part in (masks.query, masks.noise):
        if part is not None:
            assert part.dtype == torch.float32
            assert ((part >= 0.0) & (part <= 1.0)).all()
            assert part.shape[1:] == (2, BINS, frames)


@pytest.mark.parametrize("make", [small, tiny])
def test_a_query_does_not_hear_the_others(make: type) -> None:
    network = make("nit")
    separator = Separator(network)
    magnitude, queries = torch.rand(1, BINS, 64), asked(network, 3)
    together = separator.masks(magnitude, queries).query
    for place in range(3):
        alone = separator.masks(magnitude, queries[place : place + 1]).query
        assert torch.allclose(together[place], alone[0], atol=1e-5)
    assert not torch.allclose(together[0], together[1], atol=1e-3)


def test_channels_are_separated_on_their_own() -> None:
    network = small()
    magnitude, queries = torch.rand(2, BINS, 64), asked(network, 2)
    both = Separator(network).masks(magnitude, queries)
    one = Separator(network).masks(magnitude[1:], queries)
    assert torch.allclose(both.query[:, 1:], one.query, atol=1e-5)


def test_silence_has_masks_without_a_nan() -> None:
    for network in (small(), tiny("nit")):
        masks = Separator(network).masks(torch.zeros(1, BINS, 40), asked(network, 1))
        assert masks.query.isfinite().all()


def test_spaces_of_queries() -> None:
    assert Separator(small()).encoder == "minilm"
    assert Separator(tiny("clipsep")).encoder == "clip"
    assert Separator(small("label")).encoder == "label"
    assert Separator(tiny("pit")).encoder == "none"
    assert list(Separator(small()).words) == ["dog", "rain"]
    with pytest.raises(UserError, match="256 numbers"):
        Separator(CLIPSep("clipsep", layers=5, channels=4, ngf=4, embedding=256))
