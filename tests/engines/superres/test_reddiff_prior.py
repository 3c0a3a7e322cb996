"""RED-Diff's priors: the authors' layouts, files that state their settings, diffusers' folders."""

from __future__ import annotations

import json
import math
import shutil
import zipfile
from pathlib import Path

import pytest
import torch

from engines.base import UserError
from engines.superres.reddiff.checkpoint import FFHQ, ID, IMAGENET
from engines.superres.reddiff.schedule import Schedule
from engines.superres.reddiff.settings import PriorSettings, ScheduleSettings
from engines.superres.reddiff.unet import AdmUnet
from engines.weights import Checkpoint, convert, load, recognise, save_safetensors

SMALL = PriorSettings(
    channels=32, mult=(1, 2), blocks=1, attention=(False, True), groups=8, size=32,
    head_channels=32, updown=False,
)  # fmt: skip


def stirred(settings: PriorSettings) -> AdmUnet:
    """A network of which no layer gives zero."""
    torch.manual_seed(3)
    network = AdmUnet(settings).eval()
    for value in network.parameters():
        torch.nn.init.normal_(value, std=0.05)
    return network


@pytest.mark.parametrize(("settings", "count"), [(IMAGENET, 552_814_086), (FFHQ, 93_563_910)])
def test_the_authors_layouts_are_recognised_by_shapes(settings: PriorSettings, count: int) -> None:
    with torch.device("meta"):
        tensors = AdmUnet(settings).state_dict()
    assert sum(value.numel() for value in tensors.values()) == count
    spec, _, config = recognise(Checkpoint("some.pt", tensors, {}))
    assert spec.id == ID
    assert PriorSettings.model_validate(config) == settings
    assert spec.official(config)
    half = {key: value.to(torch.float16) for key, value in tensors.items()}
    assert recognise(Checkpoint("half.pt", half, {}))[2] == config


def test_names_and_shapes_are_guided_diffusions() -> None:
    with torch.device("meta"):
        shapes = {key: tuple(v.shape) for key, v in AdmUnet(IMAGENET).state_dict().items()}
    known = {
        "time_embed.0.weight": (1024, 256),
        "input_blocks.0.0.weight": (256, 3, 3, 3),
        "input_blocks.3.0.in_layers.2.weight": (256, 256, 3, 3),  # halves by a residual block
        "input_blocks.7.0.skip_connection.weight": (512, 256, 1, 1),
        "input_blocks.10.1.qkv.weight": (1536, 512, 1),
        "input_blocks.17.0.emb_layers.1.weight": (2048, 1024),
        "middle_block.1.proj_out.bias": (1024,),
        "output_blocks.2.2.out_layers.3.weight": (1024, 1024, 3, 3),
        "output_blocks.17.0.in_layers.0.weight": (512,),
        "out.2.weight": (6, 256, 3, 3),
    }
    assert {key: shapes.get(key) for key in known} == known


def test_a_file_of_ours_states_what_shapes_do_not_tell(tmp_path: Path) -> None:
    network = stirred(SMALL)
    config = SMALL.model_dump(mode="json")
    trained = tmp_path / "trained.safetensors"
    save_safetensors(trained, network.state_dict(), {"network": ID, "config": config})
    added = convert(trained, tmp_path / "added.safetensors")
    assert added.state == "yours"
    assert PriorSettings.model_validate(added.config) == SMALL
    x, t = torch.randn(2, 3, 32, 32), torch.tensor([3, 900])
    with torch.no_grad():
        assert torch.equal(load(added, "cpu").network(x, t), network(x, t))


def test_a_class_conditional_network_is_refused(tmp_path: Path) -> None:
    tensors = AdmUnet(SMALL).state_dict() | {"label_emb.weight": torch.zeros(1000, 128)}
    torch.save(tensors, tmp_path / "256x256_diffusion.pt")
    with pytest.raises(UserError, match="class"):
        convert(tmp_path / "256x256_diffusion.pt", tmp_path / "out.safetensors")


def test_norms_are_worked_out_in_float32() -> None:
    network = stirred(SMALL)
    norm = network.out[0]
    x = 3e4 + 100.0 * torch.randn(1, 32, 16, 16)  # its square is beyond half precision
    found = norm(x.half())
    assert found.dtype == torch.float16
    assert torch.allclose(found.float(), norm(x.half().float()), atol=2e-3)


@pytest.mark.parametrize("film", ["default", "scale_shift"])
@pytest.mark.parametrize("head", [8, None])
@pytest.mark.parametrize("early", [False, True])  # as the first DDPM networks are
def test_a_folder_of_diffusers_gives_what_the_library_gives(
    tmp_path: Path, film: str, head: int | None, early: bool
) -> None:
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(1)
    theirs = diffusers.UNet2DModel(
        sample_size=32, block_out_channels=(16, 32, 32), layers_per_block=2, norm_num_groups=8,
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        resnet_time_scale_shift=film, attention_head_dim=head, flip_sin_to_cos=not early,
        freq_shift=int(early), downsample_padding=0 if early else 1, norm_eps=1e-6,
    ).eval()  # fmt: skip
    theirs.save_pretrained(tmp_path / "model" / "unet")
    diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2").save_pretrained(
        tmp_path / "model" / "scheduler"
    )
    added = convert(tmp_path / "model", tmp_path / "added.safetensors")
    ours = load(added, "cpu").network
    assert isinstance(ours, AdmUnet)
    assert ours.settings.schedule.kind == "cosine"
    x, t = torch.randn(2, 3, 32, 32), torch.tensor([0, 700])
    with torch.no_grad():
        gold = theirs(x, t).sample
        assert torch.allclose(ours(x, t), gold, atol=1e-5 * float(gold.abs().max()))
    packed = Path(shutil.make_archive(str(tmp_path / "model"), "zip", tmp_path / "model"))
    again = load(convert(packed, tmp_path / "zipped.safetensors"), "cpu").network.state_dict()
    assert all(torch.equal(value, again[key]) for key, value in ours.state_dict().items())


def test_a_zip_of_a_folder_is_read_and_other_networks_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save

    config = {"_class_name": "UNet2DConditionModel"}
    with zipfile.ZipFile(tmp_path / "sd.zip", "w") as packed:
        packed.writestr("sd/unet/config.json", json.dumps(config))
        packed.writestr("sd/unet/diffusion_pytorch_model.safetensors", save({"a": torch.ones(1)}))
    with pytest.raises(UserError, match="UNet2DConditionModel"):
        convert(tmp_path / "sd.zip", tmp_path / "out.safetensors")


def test_the_schedule_is_shifted_by_one_and_the_grid_is_the_authors() -> None:
    schedule = Schedule(ScheduleSettings())
    assert schedule.alpha(-1) == 1.0
    assert schedule.alpha(0) == pytest.approx(1.0 - 1e-4)
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    assert schedule.alpha(999) == pytest.approx(float((1 - betas).prod()), rel=1e-9)
    assert schedule.times(50) == [(t,) for t in range(980, -1, -20)]
    assert len(schedule.times(300)) == 334  # as ⌊1000/300⌋ is 3
    assert schedule.times(4, together=2) == [(750, 500), (250, 0)]
    snr = schedule.inverse_snr(500)
    assert snr == pytest.approx(math.sqrt(1 / schedule.alpha(500) - 1))
    assert schedule.weight(500, "truncated") == 1.0
    assert schedule.weight(500, "two-thirds") == pytest.approx(snr ** (2 / 3))
    assert schedule.weight(500, "log") == pytest.approx(math.log(1 + snr))
