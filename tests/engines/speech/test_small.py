"""The small networks: any length, a gain of one to begin with, and a refiner that begins as D."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from engines.speech.small import BINS, BridgeNet, SmallStorm, mask
from engines.speech.small_checkpoint import SGMSE, STORM

WIDTHS, BLOCKS = (4, 8, 8), (1, 2, 1)


def spectra(count: int, frames: int) -> list[Tensor]:
    made = torch.Generator().manual_seed(3)
    return [
        torch.randn(2, BINS, frames, dtype=torch.complex64, generator=made) for _ in range(count)
    ]


def trained() -> SmallStorm:
    """A network whose weights are far from where they start."""
    torch.manual_seed(1)
    network = SmallStorm(WIDTHS, BLOCKS)
    for weights in network.parameters():
        torch.nn.init.normal_(weights, std=0.05)
    return network.eval()


@pytest.mark.parametrize("frames", [1, 3, 4, 31])
def test_any_number_of_frames_comes_back(frames: int) -> None:
    network = trained()
    y, x, d = spectra(3, frames)
    assert network.denoiser(y, torch.zeros(2)).shape == y.shape
    assert network.refiner is not None
    assert network.refiner(x, y, d, torch.rand(2)).shape == y.shape


def test_an_untrained_predictor_changes_nothing() -> None:
    network = SmallStorm(WIDTHS, BLOCKS, refiner=False)
    (y,) = spectra(1, 9)
    torch.testing.assert_close(network.denoiser(y, torch.zeros(2)), y, rtol=1e-3, atol=1e-3)


def test_the_token_for_the_room_changes_the_result() -> None:
    network = trained()
    (y,) = spectra(1, 9)
    kept, dried = (network.denoiser(y, torch.full((2,), token)) for token in (0.0, 1.0))
    assert (kept - dried).abs().max() > 1e-4


def test_a_refiner_begins_as_the_predictor() -> None:
    network = trained()
    assert network.refiner is not None
    network.refiner.begin_as(network.denoiser)
    y, x, d = spectra(3, 13)
    refined = network.refiner(x, y, d, torch.rand(2))
    torch.testing.assert_close(refined, network.denoiser(y, torch.zeros(2)))


def test_the_gain_is_bounded_and_the_last_bin_takes_its_neighbours() -> None:
    (y,) = spectra(1, 5)
    maps = torch.zeros(2, 4, 5, BINS - 1)
    maps[:, 0] = 50.0
    loud = mask(maps, y)
    torch.testing.assert_close(loud, 2.0 * y)
    maps[:, 2, :, 0] = 3.0
    torch.testing.assert_close(mask(maps, y)[:, 0], 2.0 * y[:, 0] + 3.0)
    torch.testing.assert_close(mask(maps, y)[:, 1:], 2.0 * y[:, 1:])


@pytest.mark.parametrize("refiner", [True, False])
def test_a_file_is_recognised_by_its_shapes(refiner: bool) -> None:
    network = SmallStorm(WIDTHS, BLOCKS, refiner=refiner)
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    found = STORM.detect(shapes)
    assert found is not None
    assert found == {"widths": list(WIDTHS), "blocks": list(BLOCKS), "refiner": refiner}
    STORM.build(found).load_state_dict(network.state_dict())


def test_the_bridge_alone_is_a_file_of_its_own() -> None:
    network = BridgeNet(WIDTHS, BLOCKS)
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    found = SGMSE.detect(shapes)
    assert found is not None
    assert found == {"widths": list(WIDTHS), "blocks": list(BLOCKS)}
    SGMSE.build(found).load_state_dict(network.state_dict())
    assert STORM.detect(shapes) is None


def test_another_network_is_not_taken_for_it() -> None:
    assert STORM.detect({"conv_in.weight": (16, 4, 3, 3)}) is None
