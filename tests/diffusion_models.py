"""Diffusion models of a few tiny layers with weights of chance, as folders of diffusers."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def network(seed: int = 0, **settings: Any) -> Any:
    """A U-Net of two levels for pictures of 8 x 8."""
    import torch
    from diffusers.models.unets.unet_2d import UNet2DModel

    torch.manual_seed(seed)
    made: Any = UNet2DModel
    told: dict[str, Any] = {
        "sample_size": 8, "in_channels": 3, "out_channels": 3, "layers_per_block": 1,
        "block_out_channels": (16, 24), "norm_num_groups": 4, "attention_head_dim": 8,
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    }  # fmt: skip
    return made(**(told | settings)).eval()


def write_pipeline(folder: Path, *, seed: int = 0, **settings: Any) -> Path:
    """Write a DDPM pipeline around `network`; returns `folder`."""
    import json

    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

    folder.mkdir(parents=True, exist_ok=True)
    network(seed, **settings).save_pretrained(folder / "unet")
    scheduler: Any = DDPMScheduler()
    scheduler.save_pretrained(folder / "scheduler")
    index = {
        "_class_name": "DDPMPipeline", "_diffusers_version": "0.42.1",
        "scheduler": ["diffusers", "DDPMScheduler"], "unet": ["diffusers", "UNet2DModel"],
    }  # fmt: skip
    (folder / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder


def write_text_pipeline(folder: Path) -> Path:
    """Write a latent pipeline that makes pictures of texts; returns `folder`."""
    import json

    import torch
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    from tests.language_models import write_model

    torch.manual_seed(0)
    made: Any = UNet2DConditionModel
    made(
        sample_size=4, in_channels=4, out_channels=4, layers_per_block=1, cross_attention_dim=16,
        block_out_channels=(8, 16), norm_num_groups=4, attention_head_dim=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    ).save_pretrained(folder / "unet")  # fmt: skip
    decoder: Any = AutoencoderKL
    decoder(
        block_out_channels=(8, 8), norm_num_groups=4, latent_channels=4, sample_size=8,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
    ).save_pretrained(folder / "vae")  # fmt: skip
    config: Any = CLIPTextConfig(
        vocab_size=300, hidden_size=16, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=16,
    )  # fmt: skip
    CLIPTextModel(config).save_pretrained(folder / "text_encoder")
    write_model(folder / "tokenizer")
    for path in (folder / "tokenizer").glob("*"):
        if not path.name.startswith("tokenizer"):
            path.unlink()
    told = json.loads((folder / "tokenizer" / "tokenizer_config.json").read_text())
    told |= {"model_max_length": 16, "pad_token": "</s>"}
    (folder / "tokenizer" / "tokenizer_config.json").write_text(json.dumps(told))
    index = {"_class_name": "StableDiffusionPipeline", "requires_safety_checker": False}
    for name in ("unet", "vae", "text_encoder", "tokenizer"):
        index[name] = ["diffusers", name]  # type: ignore[assignment]
    (folder / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder
