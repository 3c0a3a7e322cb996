"""SNR-Net against the official layout and golden numbers; tiles against the whole."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from engines import weights
from engines.base import UserError
from engines.raw.yond.arch import GuidedResUnet
from engines.raw.yond.folded import Folded
from engines.raw.yond.grow import grow
from engines.raw.yond.pipeline import Noise, denoise_tiles, noise_level, plan, scattered

GOLDEN = Path(__file__).parents[3] / "data" / "golden"


def _random(nf: int, levels: int, noise_units: bool) -> GuidedResUnet:
    network = GuidedResUnet(nf, levels, noise_units)
    generator = torch.Generator().manual_seed(7)
    network.initialise(generator)
    last = network.get_submodule(f"conv{2 * levels}")
    assert isinstance(last, torch.nn.Conv2d)
    torch.nn.init.normal_(last.weight, 0.0, 0.1, generator=generator)
    return network.eval().requires_grad_(False)


def test_official_layout() -> None:
    lines = (GOLDEN / "yond-snrnet.layout.tsv").read_text().splitlines()
    wanted = [line.split("\t")[:2] for line in lines if not line.startswith("#")]
    ours = GuidedResUnet(nf=32).state_dict()
    assert [[key, "x".join(map(str, value.shape))] for key, value in ours.items()] == wanted


def test_golden_numbers() -> None:
    checks = weights.verify(GOLDEN / "yond-snrnet-nf4.safetensors")
    assert [check.output for check in checks] == ["out"]
    assert checks[0].max_relative_error < 1e-5


@pytest.mark.parametrize(
    ("nf", "levels", "noise_units"), [(4, 5, False), (8, 4, True), (4, 3, True), (6, 2, False)]
)
def test_a_file_is_recognised_by_its_tensors(
    nf: int, levels: int, noise_units: bool, tmp_path: Path
) -> None:
    network = _random(nf, levels, noise_units)
    torch.save({"params_ema": {f"module.{k}": v for k, v in network.state_dict().items()}},
               tmp_path / "any.pth")  # fmt: skip
    file = weights.convert(tmp_path / "any.pth", tmp_path / "mine.safetensors")
    assert file.config == {"nf": nf, "levels": levels, "noise_units": noise_units}
    assert file.state == "yours"
    loaded = weights.load(file, "cpu").network
    x, t = torch.rand(1, 4, 32, 48), torch.tensor([0.05])
    torch.testing.assert_close(loaded(x, t), network(x, t))


def test_the_published_size_is_called_official(tmp_path: Path) -> None:
    save_file(GuidedResUnet().state_dict(), tmp_path / "yond.safetensors")
    file = weights.convert(tmp_path / "yond.safetensors", tmp_path / "official.safetensors")
    assert file.state == "official"


def test_foreign_files_are_refused_with_a_sentence(tmp_path: Path) -> None:
    save_file({"conv_in.weight": torch.zeros(4, 3, 3, 3)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match=r"nearest is YOND SNR-Net, which also needs conv1.gamma.0"):
        weights.convert(tmp_path / "other.safetensors", tmp_path / "x.safetensors")
    partial = _random(4, 3, True).state_dict()
    del partial["conv2.conv1.bias"]
    save_file(partial, tmp_path / "partial.safetensors")
    with pytest.raises(UserError, match=r"does not fit YOND SNR-Net: it lacks conv2.conv1.bias"):
        weights.convert(tmp_path / "partial.safetensors", tmp_path / "x.safetensors")
    (tmp_path / "evil.pth").write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    with pytest.raises(UserError, match="can be read safely"):
        weights.convert(tmp_path / "evil.pth", tmp_path / "x.safetensors")
    assert not list(tmp_path.glob("x.safetensors*"))


@pytest.mark.parametrize("noise_units", [True, False])
@pytest.mark.parametrize("size", [(150, 97), (64, 64), (33, 200)])
def test_tiles_equal_the_whole(noise_units: bool, size: tuple[int, int]) -> None:
    network = _random(4, 4, noise_units)
    planes = torch.rand(4, *size, generator=torch.Generator().manual_seed(1))
    noise, scale = Noise(4.0, 12.0), 4000.0

    def denoised(side: int) -> torch.Tensor:
        out = torch.full_like(planes, torch.nan)
        tiles = plan(*size, side)
        for (top, left, bottom, right), part in denoise_tiles(
            planes, tiles, network, noise, scale, 1.0, lambda: None, half=False
        ):
            out[:, top:bottom, left:right] = part
        return out

    whole = denoised(512)
    assert torch.isfinite(whole).all()
    assert (whole - planes).abs().max() > 0.1 * noise_level(noise, scale)
    torch.testing.assert_close(denoised(32), whole, rtol=0, atol=2e-5)


@pytest.mark.parametrize(("levels", "noise_units"), [(5, False), (4, True), (2, True)])
def test_one_noise_level_folded_into_the_weights_is_the_same_function(
    levels: int, noise_units: bool
) -> None:
    network = _random(8, levels, noise_units)
    x = torch.rand(2, 4, 48, 64, generator=torch.Generator().manual_seed(2))
    t, peak = torch.tensor([0.02]), torch.tensor(0.9)
    exact = network.double()(x.double(), t.double(), peak.double())
    network.float()
    found = Folded(network, t, peak)(x)
    assert (exact - x).abs().max() > 0.5 * t
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=1e-6)
    rough = Folded(network, t, peak, torch.bfloat16)(x)
    moved = (exact - x).std()
    assert float((rough - exact).std() / moved) < 0.02
    assert rough.dtype == torch.float32


def test_a_wide_network_begins_as_the_narrow_one() -> None:
    narrow, wide = _random(4, 3, True), _random(6, 3, True)
    x, t = torch.rand(1, 4, 32, 32), torch.tensor([0.03])
    assert not torch.allclose(wide(x, t), narrow(x, t), atol=1e-3)
    grow(wide, narrow.state_dict())
    torch.testing.assert_close(wide(x, t), narrow(x, t), rtol=0, atol=1e-6)
    wide.requires_grad_(True)
    (wide(x, t) - x).square().sum().backward()
    new = wide.get_submodule("conv2.conv1").weight.grad  # type: ignore[union-attr]
    assert isinstance(new, torch.Tensor)
    assert new[:8, 8:].abs().max() > 0.0  # what is new is not cut off for ever


def test_scattered_tiles_are_spread() -> None:
    tiles = plan(2000, 3000, 512)
    some = scattered(tiles, 0.25)
    assert len(some) == 6
    assert set(some) <= set(tiles)
    assert {tile[0] for tile in some} >= {0} or len({tile[0] for tile in some}) > 1
    assert scattered(tiles[:3], 0.25) == tiles[:3]
