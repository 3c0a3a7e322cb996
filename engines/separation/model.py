"""What the separation process sees of any network of the family: moduli in, masks out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from engines.base import UserError
from engines.separation.clipsep import EMBEDDING, CLIPSep
from engines.separation.small import SmallSep
from engines.separation.warp import unwarp
from engines.weights import LoadedModel

RATE = 16_000
N_FFT = 1024
HOP = 256
BINS = N_FFT // 2 + 1

Space = Literal["minilm", "clip", "label", "none"]
_SPACES: dict[int, Space] = {384: "minilm", EMBEDDING: "clip"}


class Masks(NamedTuple):
    """Masks in 0..1, float32, on linear frequency.

    Attributes:
        query: (Q, C, 513, T), one a query.
        noise: (2, C, 513, T): sounds that no query names, or the two sources of a network that
            takes no query; None where the network has no such heads.
    """

    query: Tensor
    noise: Tensor | None


class Separator:
    """A network in evaluation mode on its device.

    Attributes:
        encoder: the space of its queries: "minilm" and "clip" are embeddings, "label" numbers of
            `words`, "none" takes no query.
        words: what it was trained on, where its file says so.
        known: (len(words), E) float32, their embeddings; of no columns for "label".
        embedding: E.
        heads: whether `masks` gives noise.
        device: torch device.
    """

    def __init__(self, network: CLIPSep | SmallSep) -> None:
        self._network = network
        self.device = next(network.parameters()).device
        self.embedding = network.embedding
        self.heads = network.kind in ("nit", "pit")
        self.words: Sequence[str] = network.words if isinstance(network, SmallSep) else ()
        known = network.known if isinstance(network, SmallSep) else torch.zeros(0, self.embedding)
        self.known = known.float().cpu()
        if network.kind in ("label", "pit"):
            self.encoder: Space = "label" if network.kind == "label" else "none"
        elif self.embedding in _SPACES:
            self.encoder = _SPACES[self.embedding]
        else:
            raise UserError(
                f"This network takes queries of {self.embedding} numbers, which no encoder here "
                "makes; add a CLIPSep checkpoint of 512 numbers a query"
            )

    @classmethod
    def of(cls, model: LoadedModel) -> Separator:
        """From what `Job.load` gives.

        Raises:
            UserError: it is no separation network, or of a query space that is not known here.
        """
        if not isinstance(model.network, CLIPSep | SmallSep):
            raise UserError(f"{model.file.title} does not separate sounds; choose a CLIPSep model")
        return cls(model.network)

    @property
    def stride(self) -> int:
        """Frames are filled up to a multiple of this; chunks of multiples cost nothing more."""
        return self._network.stride

    @torch.inference_mode()
    def masks(self, magnitude: Tensor, queries: Tensor) -> Masks:
        """Masks for every channel on its own.

        Args:
            magnitude: (C, 513, T) moduli of the 16 kHz sound in -1..1 (periodic Hann of 1024,
                hop 256, not normalised), T at least 1.
            queries: (Q, E) float32, or (Q,) label numbers for "label"; Q may be 0 for "none" only.

        Returns:
            On the CPU; see `Masks`.
        """
        frames = magnitude.shape[-1]
        missing = -frames % self.stride
        filled = magnitude.to(self.device, torch.float32)
        if missing:
            mirrored = "reflect" if missing < frames else "replicate"
            filled = functional.pad(filled, (0, missing), mode=mirrored)
        asked = queries.to(self.device)[None].expand(len(filled), *queries.shape)
        if self.encoder == "none":
            asked = torch.zeros(len(filled), 0, self.embedding, device=self.device)
        logits = self._network(filled, asked)
        return Masks(
            self._linear(logits.query, frames),
            None if logits.noise is None else self._linear(logits.noise, frames),
        )

    def _linear(self, logits: Tensor, frames: int) -> Tensor:
        """(C, Q, 256, T') -> (Q, C, 513, frames)."""
        masks = unwarp(logits.float().sigmoid(), BINS)[..., :frames]
        return masks.transpose(0, 1).contiguous().cpu()
