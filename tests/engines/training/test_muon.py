"""Muon: orthogonal steps, Adam beside them, and going on from a saved state."""

from copy import deepcopy

import torch
from torch import nn

from engines.training.muon import Muon, orthogonal


def test_singular_values_are_about_one_either_way_round() -> None:
    generator = torch.Generator().manual_seed(1)
    wide = torch.randn(8, 40, generator=generator)
    values = torch.linalg.svdvals(orthogonal(wide))
    assert 0.6 < float(values.min()) <= float(values.max()) < 1.3
    tall = torch.linalg.svdvals(orthogonal(wide.T))
    assert torch.allclose(tall, values * 5.0**0.5, rtol=1e-3)


def test_the_direction_is_that_of_the_gradient() -> None:
    u = torch.tensor([[1.0], [0.0]])
    v = torch.tensor([[0.6, 0.8, 0.0]])
    step = orthogonal(3.0 * u @ v)
    assert torch.allclose(step / step.norm(), u @ v, atol=1e-2)  # three digits in bfloat16


def test_others_move_as_adam_moves_them() -> None:
    ours, theirs = (nn.Parameter(torch.tensor([1.0, -2.0])) for _ in range(2))
    muon = Muon([], [ours], 0.1, 0.01)
    adam = torch.optim.Adam([theirs], lr=0.01)
    for step in range(5):
        for one in (ours, theirs):
            one.grad = torch.tensor([0.3, -0.1]) * (step + 1)
        muon.step()
        adam.step()
    assert torch.allclose(ours, theirs, atol=1e-7)


def test_it_fits_and_goes_on_from_its_state_the_same() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(64, 6), torch.randn(64, 3)

    def made() -> tuple[nn.Linear, Muon]:
        torch.manual_seed(1)
        layer = nn.Linear(6, 3)
        weight, bias = layer.parameters()
        return layer, Muon([weight], [bias], 0.02, 0.02)

    def go(layer: nn.Linear, optimiser: Muon, steps: int) -> float:
        loss = torch.zeros(())
        for _ in range(steps):
            loss = (layer(x) - y).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return float(loss.detach())

    layer, optimiser = made()
    first = go(layer, optimiser, 1)
    go(layer, optimiser, 9)
    again, resumed = made()
    again.load_state_dict(layer.state_dict())
    resumed.load_state_dict(deepcopy(optimiser.state_dict()))
    assert go(again, resumed, 10) == go(layer, optimiser, 10) < first
