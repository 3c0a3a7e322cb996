"""Hidden states on their way through a model, window by window.

Two copies are held at most, that before and that after a block. What does not fit is kept in a file
beside the other partial results, which the system pages in and out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from engines.quantize.block import Call
from engines.quantize.skeleton import Skeleton, hidden_of, with_hidden

_AT_ONCE = 2048  # tokens of a chunk
_IN_MEMORY = 2**30  # bytes


class Stream:
    """Windows of tokens (windows, length) and their hidden states before the next block.

    Args:
        skeleton: with what lies outside its blocks filled, and block 0 too.
        tokens: (windows, length) int64.
        spill: folder for states that are too large for memory.
        name: of the file there.
    """

    def __init__(self, skeleton: Skeleton, tokens: Tensor, spill: Path, name: str) -> None:
        self.tokens = tokens
        self._skeleton = skeleton
        self._second = spill / f"{name}-b.states"
        batch = max(_AT_ONCE // tokens.shape[1], 1)
        self.parts = [slice(at, at + batch) for at in range(0, len(tokens), batch)]
        self._calls: dict[int, list[Call]] = {}
        self.states = torch.empty(0)
        for part in self.parts:
            rows = tokens[part]
            calls = skeleton.enter(rows)
            self._calls.setdefault(len(rows), calls)
            hidden = hidden_of(calls[0])
            if not self.states.numel():
                shape = (len(tokens), tokens.shape[1], hidden.shape[-1])
                self.states = _room(shape, spill / f"{name}-a.states")
            self.states[part] = hidden.to("cpu")
        self._next: Tensor | None = None

    def calls(self, index: int) -> list[Call]:
        """What block `index` is called with, a call for each part."""
        made: list[Call] = []
        for part in self.parts:
            hidden = self.states[part].to(self._skeleton.device)
            made.append(with_hidden(self._calls[len(hidden)][index], hidden))
        return made

    @torch.no_grad()
    def run(self, index: int, module: nn.Module, check: Callable[[], None]) -> Tensor:
        """What `module` makes of the states, (windows, length, hidden); the states stay."""
        for number, call in enumerate(self.calls(index)):
            check()
            self.keep(number, call.of(module))
        return self.made

    def keep(self, number: int, made: Tensor) -> None:
        """Take what a block that somebody else ran made of part `number`."""
        self.made[self.parts[number]] = made.to("cpu")

    @property
    def made(self) -> Tensor:
        """What the present block made of the states, so far."""
        if self._next is None:
            self._next = _room(tuple(self.states.shape), self._second)
        return self._next

    def step(self) -> None:
        """What `run` made is what the next block gets."""
        self.states, self._next = self.made, self.states

    def logits(self, tokens: Tensor, hidden: Tensor) -> Tensor:
        """(length, vocabulary) float32 of one window."""
        device = self._skeleton.device
        return self._skeleton.leave(tokens[None].to(device), hidden[None].to(device))[0].cpu()


def window_loss(logits: Tensor, tokens: Tensor) -> Tensor:
    """Mean negative log-likelihood, in nats, of a window's tokens but the first.

    Args:
        logits: (length, vocabulary).
        tokens: (length,) int64.
    """
    return nn.functional.cross_entropy(logits[:-1].float(), tokens[1:].to(logits.device))


def _room(shape: tuple[int, ...], path: Path) -> Tensor:
    count = math.prod(shape)
    if 4 * count <= _IN_MEMORY:
        return torch.empty(shape)
    return torch.from_file(str(path), shared=True, size=count).reshape(shape)
