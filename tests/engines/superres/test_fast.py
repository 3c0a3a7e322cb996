"""The fidelity network: its start, its tiles, its recipe."""

import torch
from torch.nn.functional import interpolate

from engines.superres.fast import FastNet
from engines.superres.fast_checkpoint import SPEC


def test_it_starts_as_a_cubic_enlargement() -> None:
    x = torch.rand(1, 3, 20, 24)
    for scale in (2, 3, 4):
        network = FastNet(scale, 16, 1)
        cubic = interpolate(x, (20 * scale, 24 * scale), mode="bicubic", antialias=True)
        inner = (..., slice(4 * scale, -4 * scale), slice(4 * scale, -4 * scale))
        assert torch.allclose(network.enlarged(x)[inner], cubic[inner], atol=1e-5)


def test_a_tile_with_a_margin_of_the_radius_is_the_whole_picture() -> None:
    torch.manual_seed(0)
    network = FastNet(2, 16, 3).double().eval()
    x = torch.rand(1, 3, 64, 64, dtype=torch.float64)
    r = network.radius
    with torch.no_grad():
        whole = network(x)[..., 2 * 24 : 2 * 40, 2 * 24 : 2 * 40]
        tile = network(x[..., 24 - r : 40 + r, 24 - r : 40 + r])[
            ..., 2 * r : -2 * r, 2 * r : -2 * r
        ]
        short = network(x[..., 25 - r : 40 + r, 24 - r : 40 + r])[
            ..., 2 * (r - 1) : -2 * r, 2 * r : -2 * r
        ]
    assert torch.allclose(whole, tile, rtol=0.0, atol=1e-13)
    # and the radius is not larger than it must be
    assert not torch.allclose(whole, short, rtol=0.0, atol=1e-13)


def test_a_grey_point_stays_where_it_is() -> None:
    network = FastNet(4, 16, 1)
    x = torch.full((1, 3, 9, 9), 0.25)
    assert torch.allclose(network.enlarged(x), torch.full((1, 3, 36, 36), 0.25), atol=1e-5)


def test_its_file_is_recognised_by_its_tensors() -> None:
    for settings in (
        {"scale": 2, "channels": 16, "blocks": 3},
        {"scale": 4, "channels": 8, "blocks": 1},
    ):
        shapes = {k: tuple(v.shape) for k, v in FastNet(**settings).state_dict().items()}
        assert SPEC.detect(shapes) == settings
        assert SPEC.detect({k: v for k, v in shapes.items() if k != "base.weight"}) is None
