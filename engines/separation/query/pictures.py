"""Pictures as queries of a network that was trained on words: CLIP says which words they show."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from torch import Tensor
from torch.nn import functional

from engines.separation.model import Separator
from engines.separation.query.clip import ClipEncoder

_SHARPNESS = 100.0  # of CLIP's own choice between captions


class Sentences(Protocol):
    """Maker of MiniLM's embeddings."""

    @property
    def space(self) -> str:
        """The name of the space."""
        ...

    def text(self, texts: Sequence[str]) -> Tensor:
        """(n, 384)."""
        ...


class PicturedWords:
    """Texts as MiniLM has them; a picture as the trained words that CLIP sees in it.

    Args:
        separator: whose words are chosen from.
        sentences: for texts.
        clip: for pictures.
    """

    def __init__(self, separator: Separator, sentences: Sentences, clip: ClipEncoder) -> None:
        self._separator = separator
        self._sentences = sentences
        self._clip = clip
        self.space = sentences.space

    def text(self, texts: Sequence[str]) -> Tensor:
        """(n, 384) of length 1."""
        return self._sentences.text(texts)

    def picture(self, paths: Sequence[Path]) -> Tensor:
        """(n, 384) of length 1: the words' embeddings, by how well they caption the picture.

        Raises:
            UserError: one of them is no picture that can be read.
        """
        words = functional.normalize(self._clip.text(self._separator.words), dim=-1)
        pictures = functional.normalize(self._clip.picture(paths), dim=-1)
        shares = (_SHARPNESS * pictures @ words.T).softmax(dim=-1)
        return functional.normalize(shares @ self._separator.known, dim=-1)


def is_clip(folder: Path) -> bool:
    """Whether a folder says that it holds a CLIP model."""
    try:
        read = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(read, dict) and read.get("model_type") == "clip"
