"""Which executor a studio's settings ask for."""

from __future__ import annotations

from studio.config import Settings
from studio.jobs.bounded import BoundedExecutor
from studio.jobs.executor import Executor, InlineExecutor, WorkerExecutor


def choose_executor(settings: Settings) -> Executor:
    """The one that jobs run in, which holds visitors to their limits.

    Raises:
        UserError: it is not to be had here.
    """
    return BoundedExecutor(_plain(settings), settings)


def _plain(settings: Settings) -> Executor:
    if settings.zero_gpu:
        from studio.jobs.zero import ZeroExecutor

        return ZeroExecutor(settings.gpu_seconds)
    if settings.executor.startswith("dask://"):
        from studio.jobs.cluster import DaskExecutor

        return DaskExecutor(settings.executor)
    return InlineExecutor() if settings.executor == "inline" else WorkerExecutor()
