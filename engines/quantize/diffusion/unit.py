"""What reaches one module of a network, caught for all calibration inputs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from engines.quantize.diffusion.predictor import Predictor
from engines.quantize.diffusion.sampler import Calls


class _Enough(Exception):
    """Raised by a hook once the module has been seen."""


@dataclass
class Inputs:
    """Arguments of a module over all calls, on the CPU.

    Attributes:
        args: tensors with the calls along the first dimension; anything else as it came first.
        kwargs: likewise.
        outputs: (n, ...) what the module made; empty where nobody asked.
    """

    args: list[Any] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)
    outputs: Tensor = field(default_factory=lambda: torch.empty(0))

    def __len__(self) -> int:
        return len(next(one for one in (*self.args, *self.kwargs.values()) if _flows(one)))

    def mixed(
        self, other: Inputs, places: Tensor, share: float, generator: torch.Generator,
        device: torch.device,
    ) -> tuple[list[Any], dict[str, Any]]:  # fmt: skip
        """Some calls, of whose numbers a random `share` is this one's and the rest the other's."""

        def mix(own: Any, others: Any) -> Any:
            if not _flows(own):
                return own
            own, others = own[places], others[places]
            if own.is_floating_point():
                take = torch.rand(own.shape, generator=generator) < share
                own = torch.where(take, own, others)
            return own.to(device)

        args = [mix(*pair) for pair in zip(self.args, other.args, strict=True)]
        return args, {name: mix(one, other.kwargs[name]) for name, one in self.kwargs.items()}


@torch.no_grad()
def inputs_of(
    network: nn.Module, path: str, like: Predictor, calls: Calls, size: int,
    check: Callable[[], None], *, outputs: bool = False,
) -> Inputs:  # fmt: skip
    """What the module at `path` is called with; the network is run no further than to it.

    Memory: its input once for every calibration input, and its output where that is asked for.

    Args:
        network: whose module.
        path: of the module.
        like: how the network is called.
        calls: the calibration inputs, `size` of which go through at once.
        size: see there.
        check: raises Cancelled.
        outputs: whether to keep what it makes.
    """
    parts: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    made: list[Tensor] = []

    def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        parts.append((tuple(_cpu(one) for one in args), {k: _cpu(v) for k, v in kwargs.items()}))
        if not outputs:
            raise _Enough

    def after(_: nn.Module, _args: Any, result: Any) -> None:
        made.append((result[0] if isinstance(result, tuple) else result).cpu())
        raise _Enough

    module = network.get_submodule(path)
    hooks = [
        module.register_forward_pre_hook(before, with_kwargs=True),
        module.register_forward_hook(after),
    ]
    run = Predictor(network, like.conditions)
    try:
        for part in calls.batches(size):
            check()
            with suppress(_Enough):
                run.raw(part.x, part.t, part.condition)
    finally:
        for hook in hooks:
            hook.remove()
    args = [_joined([one[0][n] for one in parts]) for n in range(len(parts[0][0]))]
    kwargs = {name: _joined([one[1][name] for one in parts]) for name in parts[0][1]}
    return Inputs(args, kwargs, torch.cat(made) if made else torch.empty(0))


def _cpu(value: Any) -> Any:
    return value.cpu() if isinstance(value, Tensor) else value


def _flows(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim > 1


def _joined(values: list[Any]) -> Any:
    return torch.cat(values) if _flows(values[0]) else values[0]
