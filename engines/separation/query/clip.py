"""CLIP ViT-B/32: words and pictures in one space of 512 numbers, as CLIPSep was trained on.

The embeddings are those of transformers' CLIPModel, not normalised. Texts are asked for as
"a photo of ...": CLIP was trained on captions, and CLIPSep on its pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from engines.base import UserError
from engines.separation.query.words import said

SPACE = "clip"
SIZE = 512
HUB = "openai/clip-vit-base-patch32"
_PROMPT = "a photo of {}"
_SIDE = 224
_MEAN = (0.48145466, 0.4578275, 0.40821073)
_SPREAD = (0.26862954, 0.26130258, 0.27577711)


class ClipEncoder:
    """Texts and pictures -> (n, 512) float32.

    Args:
        place: a folder with a CLIPModel in safetensors, or the name of one at the hub.

    Raises:
        UserError: there is none, or it cannot be reached.
    """

    space = SPACE

    def __init__(self, place: Path | str) -> None:
        self._tokens, self._network = _read(str(place))

    @torch.inference_mode()
    def text(self, texts: Sequence[str]) -> Tensor:
        """Of each text as a caption."""
        captions = [_PROMPT.format(said(text)) for text in texts]
        asked = self._tokens(captions, padding=True, truncation=True, return_tensors="pt")
        states = self._network.text_model(**asked).pooler_output
        return self._network.text_projection(states).float()

    @torch.inference_mode()
    def picture(self, paths: Sequence[Path]) -> Tensor:
        """Of each picture, its middle square.

        Raises:
            UserError: one of them is no picture that can be read.
        """
        pixels = torch.stack([_pixels(path) for path in paths])
        states = self._network.vision_model(pixel_values=pixels).pooler_output
        return self._network.visual_projection(states).float()


def _pixels(path: Path) -> Tensor:
    """(3, 224, 224) standardised."""
    try:
        with Image.open(path) as opened:
            picture = ImageOps.exif_transpose(opened).convert("RGBA")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, ValueError) as error:
        raise UserError(f"{path.name} is no picture that can be read; choose a JPEG or PNG") from (
            error
        )
    whole = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    square = ImageOps.fit(whole, (_SIDE, _SIDE), Image.Resampling.BICUBIC)
    values = np.asarray(square, dtype=np.float32) / 255.0
    standard = (values - np.asarray(_MEAN)) / np.asarray(_SPREAD)
    return torch.from_numpy(standard.astype(np.float32)).permute(2, 0, 1)


@lru_cache(maxsize=1)
def _read(place: str) -> tuple[Any, Any]:
    from transformers import AutoTokenizer, CLIPModel
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    local = Path(place).is_dir()
    plain: dict[str, Any] = {"local_files_only": local, "trust_remote_code": False}
    try:
        network = CLIPModel.from_pretrained(place, use_safetensors=True, **plain)
        tokens = AutoTokenizer.from_pretrained(place, **plain)
    except Exception as error:
        # transformers raises many kinds of error on foreign files; all mean the same to a person.
        where = f"{Path(place).name} holds" if local else "The hub cannot be reached, or has"
        raise UserError(
            f"{where} no CLIP model in safetensors; choose a folder with {HUB} (config.json, "
            "tokeniser, model.safetensors)"
        ) from error
    size = network.config.projection_dim
    if size != SIZE:
        raise UserError(
            f"The CLIP model in {Path(place).name} makes {size} numbers, not {SIZE}; choose {HUB}"
        )
    return tokens, network.eval().requires_grad_(False)
