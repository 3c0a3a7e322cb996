"""NegVSR's network: its parts against what they should be, and the authors' checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from engines.base import UserError
from engines.superres.negvsr.blocks import warp
from engines.superres.negvsr.carafe import Carafe, gathered
from engines.superres.negvsr.checkpoint import OFFICIAL, SPEC
from engines.superres.negvsr.flow import SpyNet, dense_search
from engines.superres.negvsr.net import NegVsr
from engines.weights import convert, load

SMALL = {"mid": 8, "blocks": 1, "cleaning": 1, "compressed": 4, "hr": 4, "flow": "dis"}


def network(**more: object) -> NegVsr:
    torch.manual_seed(0)
    return NegVsr(**{**SMALL, **more}).eval().requires_grad_(False)  # type: ignore[arg-type]


def layout() -> dict[str, tuple[int, ...]]:
    """Names and shapes of the authors' network, as their code makes it."""
    found: dict[str, tuple[int, ...]] = {}

    def conv(name: str, wanted: int, given: int, side: int) -> None:
        found[f"{name}.weight"], found[f"{name}.bias"] = (wanted, given, side, side), (wanted,)

    def trunk(name: str, given: int, blocks: int) -> None:
        conv(f"{name}.main.0", 64, given, 3)
        for number in range(blocks):
            for layer in ("conv1", "conv2"):
                conv(f"{name}.main.2.{number}.{layer}", 64, 64, 3)

    trunk("image_cleaning.0", 3, 20)
    conv("image_cleaning.1", 3, 64, 3)
    for direction in ("backward", "forward"):
        trunk(f"basicvsr.{direction}_resblocks_layer10", 67, 10)
    for level in range(6):
        widths = (8, 32, 64, 32, 16, 2)
        for layer in range(5):
            name = f"basicvsr.spynet.basic_module.{level}.basic_module.{layer}.conv"
            conv(name, widths[layer + 1], widths[layer], 7)
    found["basicvsr.spynet.mean"] = found["basicvsr.spynet.std"] = (1, 3, 1, 1)
    for number in (1, 2):
        conv(f"basicvsr.carafe{number}.channel_compressor", 64, 64, 1)
        conv(f"basicvsr.carafe{number}.content_encoder", 100, 64, 3)
    conv("basicvsr.fusion", 64, 128, 1)
    conv("basicvsr.conv_hr", 64, 64, 3)
    conv("basicvsr.conv_last", 3, 64, 3)
    return found


def test_the_network_has_the_authors_tensors() -> None:
    with torch.device("meta"):
        ours = NegVsr().state_dict()
    assert {name: tuple(value.shape) for name, value in ours.items()} == layout()
    assert SPEC.detect(layout()) == OFFICIAL
    assert SPEC.official(OFFICIAL)


@pytest.mark.parametrize("prefixes", [("",), ("generator.",), ("generator.", "generator_ema.")])
def test_a_checkpoint_of_mmedit_is_read(tmp_path: Path, prefixes: tuple[str, ...]) -> None:
    """The average is taken where there is one; what else lies beside it does not matter."""
    given: dict[str, Tensor] = {"discriminator.conv.weight": torch.ones(2), "step": torch.ones(1)}
    states = [NegVsr(**SMALL).state_dict() for _ in prefixes]  # type: ignore[arg-type]
    for prefix, state in zip(prefixes, states, strict=True):
        given |= {f"{prefix}{name}": value for name, value in state.items()}
    if prefixes == ("",):
        given = dict(states[0])
    source = tmp_path / "iter_150000.pth"
    torch.save({"meta": {"iter": 7, "time": "today"}, "state_dict": given}, source)
    file = convert(source, tmp_path / "mine.safetensors")
    assert (file.network, file.state, file.config) == ("superres.negvsr/net", "yours", SMALL)
    ours = load(file, "cpu").network.state_dict()
    assert all(torch.equal(ours[name], value) for name, value in states[-1].items())


def test_the_original_of_another_network_is_refused(tmp_path: Path) -> None:
    """RealBasicVSR has the same cleaning, and other layers behind it."""
    state = {name.replace("_layer10", ""): value for name, value in network().state_dict().items()}
    state = {name: value for name, value in state.items() if "carafe" not in name}
    source = tmp_path / "realbasicvsr.pth"
    torch.save({"state_dict": {f"generator.{k}": v for k, v in state.items()}}, source)
    with pytest.raises(UserError, match="fits no network"):
        convert(source, tmp_path / "mine.safetensors")


def test_weighted_means_of_neighbours_are_those_of_the_definition() -> None:
    torch.manual_seed(1)
    x, weights = torch.randn(2, 3, 6, 7), torch.randn(2, 25, 4, 6, 7)
    found = gathered(pad(x, (2, 2, 2, 2)), weights)
    seen = torch.nn.functional.unfold(x, 5, padding=2).reshape(2, 3, 25, 6, 7)
    assert torch.allclose(found, torch.einsum("bckhw,bkphw->bcphw", seen, weights), atol=1e-5)


def test_their_gradients_are_those_of_finite_differences() -> None:
    torch.manual_seed(1)
    x = torch.randn(1, 2, 8, 7, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(1, 25, 2, 4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(gathered, (x, weights))


def test_carafe_with_even_weights_is_a_mean() -> None:
    carafe = Carafe(3, 4)
    torch.nn.init.zeros_(carafe.content_encoder.weight)
    x = torch.rand(1, 3, 9, 8)
    with torch.no_grad():
        found = carafe(x)
    mean = torch.nn.functional.avg_pool2d(x, 5, 1, 2)
    assert torch.allclose(found, interpolate(mean, scale_factor=2, mode="nearest"), atol=1e-6)


def test_a_flow_says_where_to_look() -> None:
    x = torch.rand(1, 2, 6, 8)
    flow = torch.zeros(1, 2, 6, 8)
    flow[:, 0], flow[:, 1] = 2.0, -1.0
    moved = warp(x, flow)
    assert torch.allclose(moved[..., 1:, :6], x[..., :-1, 2:], atol=1e-5)
    assert float(moved[..., 0, :].abs().max()) < 1e-6  # beyond the edge there is nothing
    assert torch.allclose(warp(x, flow, border=True)[..., 0, :6], x[..., 0, 2:], atol=1e-5)


def test_dense_search_finds_a_shift() -> None:
    torch.manual_seed(2)
    wide = torch.nn.functional.avg_pool2d(torch.rand(1, 3, 72, 84), 5, 1) * 2 - 0.5
    here, there = wide[..., 4:68, 4:68], wide[..., 2:66, 7:71]
    flow = dense_search(here, there)[..., 12:-12, 12:-12].mean((0, 2, 3))
    assert flow.tolist() == pytest.approx([-3.0, 2.0], abs=0.3)


def test_spynet_takes_any_size_and_measures_in_pixels() -> None:
    """Where every level says (0.5, -1), each doubles what came before and adds that."""
    net = SpyNet()
    for level in net.basic_module:
        for layer in level.basic_module:  # type: ignore[union-attr]
            torch.nn.init.zeros_(layer.conv.weight)
            torch.nn.init.zeros_(layer.conv.bias)
        level.basic_module[4].conv.bias.data = torch.tensor([0.5, -1.0])  # type: ignore[index]
    with torch.no_grad():
        flow = net(torch.rand(1, 3, 40, 70), torch.rand(1, 3, 40, 70))
    assert flow.shape == (1, 2, 40, 70)
    assert torch.allclose(flow[0, 0], torch.tensor(0.5 * 63 * 70 / 96))
    assert torch.allclose(flow[0, 1], torch.tensor(-63.0 * 40 / 64))


def test_only_features_see_what_is_mixed_in() -> None:
    net = network()
    frames, seen = torch.rand(1, 3, 3, 20, 24), torch.rand(1, 3, 3, 20, 24)
    assert not torch.allclose(net.basicvsr(frames, seen), net.basicvsr(frames))
    torch.nn.init.zeros_(net.basicvsr.conv_last.weight)
    torch.nn.init.zeros_(net.basicvsr.conv_last.bias)  # type: ignore[arg-type]
    plain = interpolate(frames[0], scale_factor=4, mode="bilinear")
    assert torch.allclose(net.basicvsr(frames, seen)[0], plain, atol=1e-6)


def test_every_frame_knows_of_all_others() -> None:
    net = network()
    frames = torch.rand(1, 4, 3, 20, 24)
    changed = frames.clone()
    changed[:, 1] = torch.rand(3, 20, 24)
    difference = (net(frames) - net(changed)).abs().amax((0, 2, 3, 4))
    assert bool((difference > 1e-6).all())
    assert net(frames[:, :1]).shape == (1, 1, 3, 80, 96)


@pytest.mark.parametrize(("threshold", "times"), [(255.0, 1), (5.0, 1), (3.0, 3), (0.0, 3)])
def test_cleaning_is_repeated_while_it_changes_much(threshold: float, times: int) -> None:
    net = network()
    last = net.image_cleaning[1]
    torch.nn.init.zeros_(last.weight)  # type: ignore[arg-type]
    torch.nn.init.constant_(last.bias, 4.0 / 255.0)  # type: ignore[arg-type]
    frames = torch.full((1, 2, 3, 8, 8), 0.5)
    expected = 0.5 + times * 4.0 / 255.0
    assert float(net.clean(frames, threshold).mean()) == pytest.approx(expected, abs=1e-5)
