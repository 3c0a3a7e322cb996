"""NCSN++ against the official layouts and golden numbers; what its settings change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from engines import weights
from engines.speech import fir
from engines.speech.layout import size_of
from engines.speech.ncsnpp import Attention, NCSNpp
from engines.speech.settings import Size

GOLDEN = Path(__file__).resolve().parents[2] / "data" / "golden"
LIGHT: dict[str, Any] = {"nf": 128, "ch_mult": (1, 2, 2, 2), "num_res_blocks": 1, "attention": ()}
OFFICIAL: dict[str, dict[str, Any]] = {
    "sgmse-ncsnpp": {},
    "sgmse-ncsnpp-v2": {"backbone": "ncsnpp_v2"},
    "sgmse-ncsnpp-48k": {"backbone": "ncsnpp_48k", "attention": (), "pyramid": False},
    "storm-ncsnpp-score": LIGHT | {"spectra": 3, "centred": False},
    "storm-ncsnpp-denoiser": LIGHT | {"spectra": 1, "centred": False, "conditional": False},
}
TINY: dict[str, Any] = {"nf": 8, "ch_mult": (1, 2), "num_res_blocks": 1, "attention": (1,)}


def _tiny(**others: Any) -> NCSNpp:
    network = NCSNpp(**(TINY | others))
    generator = torch.Generator().manual_seed(5)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, 0.0, 0.2, generator)
    return network.eval().requires_grad_(False)


def _input(batch: int = 1, spectra: int = 2, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, spectra, 16, 24, dtype=torch.complex64, generator=generator)


@pytest.mark.parametrize("name", OFFICIAL)
def test_the_published_layout(name: str) -> None:
    """Names, shapes and order; the averaged weights of a checkpoint are a list in that order."""
    lines = (GOLDEN / f"{name}.layout.tsv").read_text().splitlines()
    wanted = [line.split("\t")[:2] for line in lines if not line.startswith("#")]
    with torch.device("meta"):
        network = NCSNpp(**OFFICIAL[name])
    state = network.state_dict()
    assert [[key, "x".join(map(str, value.shape))] for key, value in state.items()] == wanted
    assert [key for key, _ in network.named_parameters()] == list(state)


@pytest.mark.parametrize("name", OFFICIAL)
def test_the_size_is_read_from_the_layout(name: str) -> None:
    with torch.device("meta"):
        network = NCSNpp(**OFFICIAL[name])
    found = size_of({key: tuple(value.shape) for key, value in network.state_dict().items()})
    known = {"centred": True, "backbone": "ncsnpp_48k" if name.endswith("48k") else "ncsnpp"}
    assert found == Size(**(OFFICIAL[name] | known))


@pytest.mark.parametrize(
    "others",
    [
        {"ch_mult": (1, 1), "attention": (0, 1)},
        {"ch_mult": (2, 1, 2), "num_res_blocks": 2, "attention": (2,)},
        {"ch_mult": (1, 2, 2), "num_res_blocks": 3, "attention": (), "pyramid": False},
        {"ch_mult": (1, 2, 3, 4), "attention": (1, 3), "conditional": False, "spectra": 1},
    ],
)
def test_any_size_is_read_from_its_shapes(others: dict[str, Any]) -> None:
    with torch.device("meta"):
        network = NCSNpp(**(TINY | others))
    found = size_of({key: tuple(value.shape) for key, value in network.state_dict().items()})
    assert found is not None
    have = found.model_dump()
    assert {key: have[key] for key in TINY | others} == TINY | others


def test_other_tensors_are_no_ncsnpp() -> None:
    with torch.device("meta"):
        state = NCSNpp(**TINY).state_dict()
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    assert size_of({}) is None
    for missing in ("output_layer.weight", "all_modules.0.W", "all_modules.4.Conv_0.weight"):
        assert size_of({k: v for k, v in shapes.items() if k != missing}) is None
    assert size_of(shapes | {"all_modules.99.weight": (3,)}) is None
    assert size_of(shapes | {"all_modules.0.W": (2,)}) is None


@pytest.mark.parametrize(
    "name", ["sgmse-ncsnpp-nf16", "storm-ncsnpp-score-nf16", "storm-ncsnpp-denoiser-nf16"]
)
def test_golden_numbers(name: str) -> None:
    checks = weights.verify(GOLDEN / f"{name}.safetensors")
    assert sorted(check.output for check in checks) == ["im", "re"]
    assert max(check.max_relative_error for check in checks) < 1e-5


def test_what_becomes_of_the_output() -> None:
    """One over t before the last layer, after it, or not at all: they differ by its bias."""
    x, t = _input(2), torch.tensor([0.25, 0.5])
    before, after, never = (
        _tiny(backbone=name)(x, t) for name in ("ncsnpp", "ncsnpp_48k", "ncsnpp_v2")
    )
    wide = t[:, None, None, None]
    torch.testing.assert_close(after * wide, never)
    bias = _tiny().output_layer.bias
    assert bias is not None
    offset = torch.complex(bias[0], bias[1])
    torch.testing.assert_close((before - offset) * wide, never - offset)


def test_an_uncentred_network_sees_2v_minus_1() -> None:
    x, t = _input(), torch.tensor([0.3])
    shifted = torch.complex(2 * x.real - 1, 2 * x.imag - 1)
    torch.testing.assert_close(_tiny(centred=False)(x, t), _tiny()(shifted, t))


def test_a_network_without_time_ignores_it() -> None:
    network, x = _tiny(conditional=False, spectra=1), _input(spectra=1)
    assert torch.equal(network(x), network(x, torch.tensor([0.1])))


def test_items_do_not_mix_and_each_has_its_time() -> None:
    network, x, t = _tiny(pyramid=False), _input(3), torch.tensor([0.1, 0.4, 0.9])
    whole = network(x, t)
    assert whole.shape == (3, 1, 16, 24)
    assert whole.dtype == torch.complex64
    for item in range(3):
        torch.testing.assert_close(
            network(x[item : item + 1], t[item : item + 1]), whole[item, None]
        )
    assert not torch.allclose(network(x[:1], t[1:2]), whole[:1])


def test_memory_format_changes_nothing() -> None:
    network, x, t = _tiny(), _input(), torch.tensor([0.4])
    flat = network(x, t)
    last = network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    torch.testing.assert_close(last(x, t), flat, rtol=1e-4, atol=1e-5)


def test_a_fresh_network_trains() -> None:
    network = NCSNpp(**TINY)
    network.initialise(torch.Generator().manual_seed(1))
    again = NCSNpp(**TINY)
    again.initialise(torch.Generator().manual_seed(1))
    assert all(map(torch.equal, network.parameters(), again.parameters()))
    optimiser = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], 2e-3)
    x, t, target = _input(2), torch.tensor([0.5, 0.9]), _input(2, 1, seed=9)
    losses: list[float] = []
    for _ in range(30):
        loss = (network(x, t) - target).abs().square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]


# the parts


def test_attention_is_softmax_over_all_positions() -> None:
    generator = torch.Generator().manual_seed(2)
    block = Attention(8)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, 0.0, 0.5, generator)
    x = torch.randn(2, 8, 4, 6, generator=generator)
    h = block.GroupNorm_0(x).flatten(2).mT
    q, k, v = (h @ part.W + part.b for part in (block.NIN_0, block.NIN_1, block.NIN_2))
    mixed = torch.softmax(q @ k.mT / 8**0.5, dim=-1) @ v
    out = (mixed @ block.NIN_3.W + block.NIN_3.b).mT.reshape(x.shape)
    torch.testing.assert_close(block(x), (x + out) / 2**0.5)


def test_halving_and_doubling_are_the_filter() -> None:
    """Zero insertion or every second sample around [1, 3, 3, 1] in each direction."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    kernel = torch.outer(taps, taps)[None, None]
    x = torch.randn(2, 3, 6, 10, generator=torch.Generator().manual_seed(1))
    flat = x.reshape(6, 1, 6, 10)
    filtered = functional.conv2d(functional.pad(flat, (1, 1, 1, 1)), kernel)
    torch.testing.assert_close(fir.halve(x), filtered[..., ::2, ::2].reshape(2, 3, 3, 5))
    spread = torch.zeros(6, 1, 12, 20)
    spread[..., ::2, ::2] = flat
    filtered = 4 * functional.conv2d(functional.pad(spread, (2, 1, 2, 1)), kernel)
    torch.testing.assert_close(fir.double(x), filtered.reshape(2, 3, 12, 20))
