"""The networks of UPSR and EDiffSR against the official layouts, numbers and files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from engines.base import UserError
from engines.superres.ediffsr.checkpoint import OFFICIAL as EANET
from engines.superres.ediffsr.checkpoint import SPEC
from engines.superres.ediffsr.eanet import EaNet
from engines.superres.upsr.atd import Atd
from engines.superres.upsr.checkpoint import OFFICIAL_REGRESSOR, OFFICIAL_UNET, REGRESSOR, UNET
from engines.superres.upsr.unet import UpsrUnet
from engines.weights import NetworkSpec, convert, load, verify

GOLDEN = Path(__file__).resolve().parents[2] / "data" / "golden"
LAYOUTS = {
    "upsr-unet-swin": (UNET, OFFICIAL_UNET),
    "upsr-atd-real": (REGRESSOR, OFFICIAL_REGRESSOR),
    "ediffsr-eanet": (SPEC, EANET),
}
SMALL: dict[str, tuple[NetworkSpec, Any, dict[str, Any]]] = {
    "unet": (
        UNET,
        UpsrUnet,
        {
            "image_size": 32, "model_channels": 32, "channel_mult": [1, 2, 2], "num_res_blocks": 1,
            "swin_depth": 2, "swin_embed_dim": 32, "num_head_channels": 16, "window_size": 8,
            "mlp_ratio": 2, "num_feat": 8, "anchored": True,
        },
    ),
    "eanet": (
        SPEC,
        EaNet,
        {
            "width": 16, "enc_blk_nums": [2, 1], "middle_blk_num": 1, "dec_blk_nums": [1, 2],
            "anchored": True,
        },
    ),
    "atd": (
        REGRESSOR,
        Atd,
        {
            "scale": 2, "channels": 16, "depths": [2, 1], "heads": [2, 4], "window": 8,
            "category": 128, "tokens": 16, "reduced": 4, "kernel": 5, "ratio": 2,
        },
    ),
}  # fmt: skip


def shapes_of(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_full_layout_is_the_official_one(name: str) -> None:
    spec, settings = LAYOUTS[name]
    expected: dict[str, tuple[int, ...]] = {}
    for line in (GOLDEN / f"{name}.layout.tsv").read_text("utf-8").splitlines():
        if not line.startswith("#"):
            key, shape, _ = line.split("\t")
            expected[key] = tuple(int(side) for side in shape.split("x"))
    assert spec.detect(expected) == settings
    assert spec.official(settings)
    with torch.device("meta"):
        network = spec.build(settings)
    assert shapes_of(network) == expected


@pytest.mark.parametrize("name", ["upsr-unet-mc32", "upsr-atd-e16", "ediffsr-w16"])
def test_golden_numbers(name: str) -> None:
    checks = verify(GOLDEN / f"{name}.safetensors", tolerance=1e-5)
    assert [check.ok for check in checks] == [True], checks


@pytest.mark.parametrize("name", SMALL)
def test_any_size_is_recognised_by_its_tensors(name: str) -> None:
    spec, kind, settings = SMALL[name]
    shapes = shapes_of(kind(**settings))
    assert spec.detect(shapes) == settings
    assert not spec.official(settings)
    others = [other for other, _, _ in SMALL.values() if other is not spec]
    assert [other.detect(shapes) for other in others] == [None, None]


def wrapped(tensors: Mapping[str, torch.Tensor], how: str) -> dict[str, Any]:
    wrong = {key: value + 1 for key, value in tensors.items()}
    return {
        "ema": {"params": wrong, "params_ema": dict(tensors)},
        "params": {"params": dict(tensors)},
        "parallel": {f"module.{key}": value for key, value in tensors.items()},
        "parallel ema": {"params_ema": {f"module.{key}": v for key, v in tensors.items()}},
    }[how]


@pytest.mark.parametrize("how", ["ema", "params", "parallel", "parallel ema"])
@pytest.mark.parametrize("name", SMALL)
def test_files_of_the_authors_kind_load(name: str, how: str, tmp_path: Path) -> None:
    spec, kind, settings = SMALL[name]
    torch.manual_seed(4)
    network = kind(**settings)
    source = tmp_path / "net.pth"
    torch.save(wrapped(network.state_dict(), how), source)
    file = convert(source, tmp_path / "mine.safetensors")
    assert (file.network, file.state, file.config) == (spec.id, "yours", settings)
    again = load(file, "cpu").network.state_dict()
    assert all(torch.equal(value, again[key]) for key, value in network.state_dict().items())


def test_an_average_of_the_whole_wrapped_network_loads(tmp_path: Path) -> None:
    _, kind, settings = SMALL["eanet"]
    network = kind(**settings)
    tensors: dict[str, torch.Tensor] = {"initted": torch.tensor(True), "step": torch.tensor(9)}
    for key, value in network.state_dict().items():
        tensors[f"online_model.module.{key}"] = value + 1
        tensors[f"ema_model.module.{key}"] = value
    torch.save(tensors, tmp_path / "lastest_EMA.pth")
    file = convert(tmp_path / "lastest_EMA.pth", tmp_path / "mine.safetensors")
    again = load(file, "cpu").network.state_dict()
    assert all(torch.equal(value, again[key]) for key, value in network.state_dict().items())


def test_a_file_that_lacks_a_tensor_is_refused_in_one_sentence(tmp_path: Path) -> None:
    _, kind, settings = SMALL["eanet"]
    tensors = dict(kind(**settings).state_dict())
    del tensors["ending.bias"]
    torch.save(tensors, tmp_path / "net.pth")
    with pytest.raises(UserError, match=r"does not fit EDiffSR: it lacks ending\.bias"):
        convert(tmp_path / "net.pth", tmp_path / "mine.safetensors")


def test_the_u_net_takes_other_sizes_than_it_was_trained_on() -> None:
    _, kind, settings = SMALL["unet"]
    network = kind(**settings).eval()
    with torch.no_grad():
        out = network(torch.rand(1, 48, 64, 96), torch.tensor([2.0]), torch.rand(1, 96, 64, 96))
    assert out.shape == (1, 3, 256, 384)


def test_the_regressor_takes_any_size() -> None:
    _, kind, settings = SMALL["atd"]
    network = kind(**settings).eval()
    with torch.no_grad():
        for height, width in ((1, 1), (3, 21), (17, 8)):
            assert network(torch.rand(1, 3, height, width)).shape == (1, 3, 2 * height, 2 * width)
