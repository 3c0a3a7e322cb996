"""ZeroGPU, the Spaces that lend a card for the time of one call.

The `spaces` package runs a decorated function in a process of its own, forked from this one, with a
card. Progress and the wish to stop go through small files, as nothing else is shared with it. Whose
quota it takes, the package reads from Gradio's request of the moment; jobs run in another thread,
so the newest request of each visitor is kept for it (the page sends one every few seconds, and
what is inside is good for a few minutes).
"""

from __future__ import annotations

import json
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from contextvars import Context, copy_context
from importlib import import_module
from pathlib import Path
from typing import Any

from engines.base import UserError
from studio.jobs.perform import ModelCache, perform
from studio.jobs.task import Outcome, Progress, Task
from studio.workspace import remove_tree

_OWNERS = 1000
_LOOK_EVERY = 0.25  # seconds
_STOP, _PROGRESS = "stop", "progress.json"
_cache = ModelCache()  # of the process with the card, which serves several jobs
_requests: OrderedDict[str, Context] = OrderedDict()
_lock = threading.Lock()


def remember(owner: str) -> None:
    """Keep the request that is being answered, as that owner's newest."""
    with _lock:
        _requests[owner] = copy_context()
        _requests.move_to_end(owner)
        while len(_requests) > _OWNERS:
            _requests.popitem(last=False)


def _request_of(owner: str) -> Context:
    with _lock:
        kept = _requests.get(owner)
    return kept.copy() if kept is not None else copy_context()


class ZeroExecutor:
    """Performs each task with a borrowed card; see `Executor`.

    Args:
        seconds: how long a task may hold it.
        gpu: the decorator `spaces.GPU`; None imports it.

    Raises:
        UserError: the package is not there.
    """

    def __init__(self, seconds: int, gpu: Callable[..., Any] | None = None) -> None:
        if gpu is None:
            try:
                gpu = getattr(import_module("spaces"), "GPU")  # noqa: B009 - it has no types
            except ImportError as error:
                raise UserError(
                    "This Space is set to ZeroGPU, but the package spaces is missing; add it to "
                    "requirements.txt"
                ) from error
        assert gpu is not None
        self._perform: Callable[[Task, str], Outcome] = gpu(duration=seconds)(_perform)

    def run(
        self, task: Task, report: Callable[[Progress], None], cancelled: Callable[[], bool]
    ) -> Outcome:
        """See `Executor`."""
        signals = Path(task.cache) / "zero" / task.job_id
        signals.mkdir(parents=True, exist_ok=True)
        try:
            with ThreadPoolExecutor(1) as pool:
                context = _request_of(task.owner)
                asked = pool.submit(context.run, self._perform, task, str(signals))
                while not wait([asked], _LOOK_EVERY).done:
                    _relay(signals / _PROGRESS, report)
                    if cancelled():
                        (signals / _STOP).touch()
                return asked.result()
        except Exception as error:  # quotas are told in the package's own words
            told = " ".join(str(getattr(error, "message", error)).split())
            return Outcome("failed", told or "The card could not be borrowed; try again later")
        finally:
            remove_tree(signals)

    def slots(self) -> int:
        """See `Executor`."""
        return 1

    def warm_up(self) -> None:
        """A card is only there during a call."""

    def close(self) -> None:
        """The package ends its processes itself."""


def _perform(task: Task, signals: str) -> Outcome:
    """What runs with the card, in the forked process."""
    folder = Path(signals)

    def report(progress: Progress) -> None:
        partial = folder / f"{_PROGRESS}.partial"
        with suppress(OSError):
            partial.write_text(json.dumps([progress.done, progress.total, progress.text]))
            os.replace(partial, folder / _PROGRESS)

    return perform(task, _cache, report, (folder / _STOP).exists)


def _relay(file: Path, report: Callable[[Progress], None]) -> None:
    with suppress(OSError, ValueError):
        done, total, text = json.loads(file.read_text())
        report(Progress(done, total, text))
