"""One decoder block while it is being quantized, and what flows through it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

LINEAR = (nn.Linear, Conv1D)


class _Enough(Exception):
    """Raised by a hook once what was looked for has been seen."""


@dataclass(frozen=True)
class Call:
    """What a module is called with."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    def of(self, module: nn.Module) -> Tensor:
        """The first thing that `module` returns when called so."""
        made = module(*self.args, **self.kwargs)
        return made[0] if isinstance(made, tuple) else made


def no_progress(share: float, text: str) -> None:
    """A progress that nobody watches."""


@dataclass
class Block:
    """A decoder block in float32 on the job's device.

    Attributes:
        index: its place among `count` blocks.
        name: as in the state dict, "model.layers.3".
        module: the block; its weights may be changed.
        linears: paths within it of the linear layers ("self_attn.q_proj"), in the order in which
            data reaches them.
        stream: what the block is called with, one call a chunk of calibration text; the first
            argument is the hidden state, (batch, tokens, hidden).
        found: path -> what `Method.see_gradient` returned for it.
        notes: plain sentences for the person, by `note`.
        take: is given what the block as it came returns, (number of the call, hidden state), by the
            first sweep over it, which then runs to the block's end; None once it was, or where
            nobody asks. A sweep over weights that were written to leaves it.
    """

    index: int
    count: int
    name: str
    module: nn.Module
    linears: tuple[str, ...]
    stream: Sequence[Call] = ()
    found: Mapping[str, Tensor] = field(default_factory=dict)
    check: Callable[[], None] = lambda: None
    progress: Callable[[float, str], None] = no_progress
    notes: list[str] = field(default_factory=list)
    take: Callable[[int, Tensor], None] | None = None

    def __post_init__(self) -> None:
        """Remember how the weights came."""
        self._came = self._versions() if self.take is not None else ()

    def note(self, text: str) -> None:
        """Say a plain sentence to the person, once."""
        if text not in self.notes:
            self.notes.append(text)

    def linear(self, path: str) -> nn.Module:
        """The linear layer at `path`, `nn.Linear` or GPT-2's `Conv1D`."""
        return self.module.get_submodule(path)

    def weight(self, path: str) -> Tensor:
        """(out, in) float32: a view, so that writing into it changes the module."""
        layer = self.linear(path)
        weight = layer.weight
        assert isinstance(weight, Tensor)
        return weight.detach().T if isinstance(layer, Conv1D) else weight.detach()

    @contextmanager
    def restored(self, paths: Iterable[str]) -> Iterator[None]:
        """The weights of `paths` may be written to inside; they are what they were afterwards."""
        kept = {path: self.weight(path).clone() for path in paths}
        try:
            yield
        finally:
            for path, weight in kept.items():
                self.weight(path).copy_(weight)

    @torch.no_grad()
    def sweep(self, paths: Sequence[str], see: Callable[[str, Tensor], None]) -> None:
        """Run all calibration chunks through the block as it is now.

        Args:
            paths: linear layers to watch.
            see: called with a path and what reaches it, (tokens, in) float32, once a chunk.

        What of the block comes after the last layer watched is not run, unless `take` wants it.
        """
        take = None
        if self.take is not None and self._versions() == self._came:
            take, self.take = self.take, None
        for number, call in enumerate(self.stream):
            self.check()
            missing = set(paths)

            def shown(path: str, x: Tensor, missing: set[str] = missing) -> None:
                see(path, x.reshape(-1, x.shape[-1]))
                missing.discard(path)
                if not missing and take is None:
                    raise _Enough

            with self._watched(paths, shown), suppress(_Enough):
                made = call.of(self.module)
                if take is not None:
                    take(number, made)

    @torch.no_grad()
    def calls(self, path: str) -> list[Call]:
        """What the submodule at `path` is called with, a call for every chunk, block as it is now.

        Holds one hidden state (batch, tokens, hidden) a chunk.
        """
        found: list[Call] = []

        def take(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            found.append(Call(args, dict(kwargs)))
            raise _Enough

        handle = self.module.get_submodule(path).register_forward_pre_hook(take, with_kwargs=True)
        try:
            for call in self.stream:
                self.check()
                try:
                    call.of(self.module)
                except _Enough:
                    continue
        finally:
            handle.remove()
        return found

    @torch.no_grad()
    def outputs(self) -> Iterator[Tensor]:
        """What the block returns as it is now, (batch, tokens, hidden), chunk by chunk."""
        for call in self.stream:
            self.check()
            yield call.of(self.module)

    def _versions(self) -> tuple[int, ...]:
        """How often each parameter was written to."""
        return tuple(parameter._version for parameter in self.module.parameters())

    @contextmanager
    def _watched(self, paths: Sequence[str], see: Callable[[str, Tensor], None]) -> Iterator[None]:
        def hook(path: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
            return lambda _, args: see(path, args[0])

        handles = [self.linear(path).register_forward_pre_hook(hook(path)) for path in paths]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
