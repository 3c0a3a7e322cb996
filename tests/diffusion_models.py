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
