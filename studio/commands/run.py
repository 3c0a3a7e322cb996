"""`run`: files through an engine or a recipe, by the same queue as the page's.

Another process that is open on this home does the jobs; when it goes, this one takes over.
"""

from __future__ import annotations

import argparse
import glob
import signal
import sys
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from tqdm import tqdm

from engines.base import UserError, takes_together
from studio import language
from studio.commands import output, settings
from studio.commands.batch import done_before, natural, write_summary
from studio.commands.work import outcome, work_of
from studio.config import LOCAL, VERSION
from studio.folders import is_model, models_in
from studio.jobs.service import Studio
from studio.jobs.views import JobView
from studio.unpack import no_model
from studio.zips import is_packed, kept


@dataclass(frozen=True)
class Item:
    """One entry of the answer: a file to process, or why there is none."""

    name: str
    path: Path | None = None
    error: str | None = None


def run(args: argparse.Namespace) -> int:
    """Process the inputs and wait for them; see `studio.cli` for the exit codes."""
    if args.out.exists() and not args.out.is_dir():
        raise UserError(f"Results go to a folder, and this is a file: {args.out}")
    studio = Studio(settings.load(args))
    work = work_of(args, studio, args.engine)
    engine = work.first
    models = language.known(studio.settings) if "model" in engine.accepts else None
    together = takes_together(engine)
    cache = studio.settings.cache
    items = expand(args.inputs, engine.suffixes, models, deep=together, cache=cache)
    paths = list(dict.fromkeys(item.path.absolute() for item in items if item.path is not None))
    if together and paths:  # one item, and whatever is not there
        bad = [item for item in items if item.path is None]
        items = [Item(", ".join(args.inputs), paths[0]), *bad]
    views: dict[Path, list[JobView]] = {}
    before = done_before(work, paths, args.out) if args.skip_done and not together else {}
    paths = [path for path in paths if path not in before]
    count = work.steps * (1 if together else len(paths))
    with _Interrupt() as interrupt, _Shown(args, items, count) as shown:
        try:
            if paths:
                studio.start()
                session = studio.open_session(LOCAL)
                ids = work.submit_batch(session.id, paths, args.out)
                if not studio.is_runner:
                    output.say(
                        "Another studio is open here and does the work; this one waits for it"
                    )
                flat = [one for chain in ids for one in chain]
                seen = _wait(studio, flat, interrupt, shown)
                # What lay between the steps may have gone since they were seen to end.
                ended = iter(seen if work.steps == 1 else studio.wait(LOCAL, flat))
                found = [[next(ended) for _ in chain] for chain in ids]
                views = {path: chain for chain, path in zip(found, paths, strict=not together)}
        finally:
            studio.stop()
    views |= before
    if before:
        output.say(f"{len(before)} of {len(items)} were done before and are left as they are")
    entries = [_entry(item, views, args.out) for item in items]
    if args.summary:
        files = [(item.name, _jobs(item, views), item.error) for item in items]
        output.say(f"Summary: {write_summary(args.out, work.label, files, before)}")
    if args.json:
        output.document(args, {"engine": args.engine, "version": VERSION, "jobs": entries})
    if interrupt.asked:
        return 130
    return 0 if all(entry["state"] == "done" for entry in entries) else 1


def expand(
    inputs: Sequence[str],
    suffixes: Sequence[str],
    models: Sequence[language.LanguageModel] | None = None,
    *,
    deep: bool = False,
    cache: Path | None = None,
) -> list[Item]:
    """Files, the files of folders that the engine reads, and what globs stand for, in order.

    With `deep` the files of folders in a folder count too. Where the engine takes models, `models`
    are those that may be named by their id, and a folder is one model or holds several. A zip that
    the engine does not read stands for what is in it, unpacked in `cache`.
    """
    found: list[Item] = []
    for given in inputs:
        try:
            path = Path(given)
            if cache is not None and path.is_file() and is_packed(path, suffixes):
                found += _unpacked(given, path, suffixes, cache)
            else:
                found += _expanded(given, suffixes, models, deep)
        except OSError as error:
            found.append(Item(given, error=f"This cannot be read ({error.strerror}): {given}"))
    return found


def _unpacked(given: str, path: Path, suffixes: Sequence[str], cache: Path) -> list[Item]:
    try:
        opened = kept(path, cache, suffixes)
    except UserError as error:
        return [Item(given, error=str(error))]
    if opened.said:
        output.say(opened.said)
    return [Item(str(file), file) for file in sorted(opened.files, key=natural)]


def _expanded(
    given: str,
    suffixes: Sequence[str],
    models: Sequence[language.LanguageModel] | None,
    deep: bool,
) -> list[Item]:
    path = Path(given)
    if models is not None and is_model(path):
        return [Item(given, path)]
    if path.is_dir():
        if models is not None:
            files, wrong = list(models_in(path)), no_model(given)
        else:
            found = path.rglob("*") if deep else path.iterdir()
            files = [file for file in found if file.suffix.lower() in suffixes]
            files = sorted((file for file in files if file.is_file()), key=natural)
            wrong = f"No file in this folder can be read here: {given}"
        return [Item(str(file), file) for file in files] or [Item(given, error=wrong)]
    if path.exists():
        return [Item(given, path)]
    matches = sorted(glob.glob(given, recursive=True), key=natural)
    if matches:
        return expand(matches, suffixes, models, deep=deep)
    for model in models or ():
        if model.id == given:
            return [Item(given, model.path)]
    if models is not None:
        ids = ", ".join(model.id for model in models) or "none yet"
        wrong = f"There is no such folder, and no model of this id (there are {ids}): {given}"
        return [Item(given, error=wrong)]
    return [Item(given, error=f"There is no such file; check its name: {given}")]


def _wait(studio: Studio, ids: list[str], interrupt: _Interrupt, shown: _Shown) -> list[JobView]:
    try:
        with interrupt.raised():
            return studio.wait(LOCAL, ids, shown.update)
    except KeyboardInterrupt:
        output.say("Cancelling what is left; Ctrl-C again leaves it to the next start")
        for job_id in ids:
            studio.cancel(LOCAL, job_id)
        with interrupt.raised(again=True):
            return studio.wait(LOCAL, ids, shown.update)


def _entry(item: Item, views: dict[Path, list[JobView]], out: Path) -> dict[str, Any]:
    """One job of the document; of a recipe how it ended, and its steps."""
    chain = _jobs(item, views)
    if chain is None:
        return {
            "input": item.name, "state": "failed", "error": item.error, "seconds": None,
            "peak_mb": None, "outputs": [], "measurements": {},
        }  # fmt: skip
    entry = {"input": item.name, **_facts(outcome(chain), out)}
    if chain[0].recipe:
        times = [job.seconds for job in chain if job.seconds is not None]
        peaks = [round(job.peak_mb) for job in chain if job.peak_mb is not None]
        entry |= {
            "seconds": round(sum(times), 3) if times else None,
            "peak_mb": max(peaks, default=None),
            "steps": [{"engine": job.engine, **_facts(job, out)} for job in chain],
        }
    return entry


def _jobs(item: Item, views: dict[Path, list[JobView]]) -> list[JobView] | None:
    return views.get(item.path.absolute()) if item.path is not None else None


def _facts(view: JobView, out: Path) -> dict[str, Any]:
    done = view.state == "done"
    return {
        "state": view.state,
        "error": view.error,
        "seconds": None if view.seconds is None else round(view.seconds, 3),
        "peak_mb": None if view.peak_mb is None else round(view.peak_mb),
        "outputs": [
            {
                "path": str(_as_given(file.path, out)),
                "kind": file.kind,
                "label": file.label,
                "primary": file.primary,
            }
            for file in (view.outputs if done else ())
        ],
        "measurements": {
            name: {"value": value, "unit": unit}
            for name, (value, unit) in (view.measurements if done else {}).items()
        },
    }


def _as_given(path: Path, out: Path) -> Path:
    return out / path.name if path.parent == out.absolute() else path


class _Interrupt:
    """Ctrl-C and SIGTERM, heeded only where a stop leaves nothing half done."""

    def __init__(self) -> None:
        self.asked = False
        self._raise = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _Interrupt:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *details: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        if self._raise:
            raise KeyboardInterrupt

    @contextmanager
    def raised(self, *, again: bool = False) -> Generator[None]:
        """Within, a request ends what is being done; one that came before does so at once.

        Raises:
            KeyboardInterrupt: it came; with `again`, another one came.
        """
        self._raise = True
        try:
            if self.asked and not again:
                raise KeyboardInterrupt
            yield
        finally:
            self._raise = False


class _Shown:
    """What a person sees of a run: a bar on a terminal, and a line for each file that ended."""

    def __init__(self, args: argparse.Namespace, items: Sequence[Item], jobs: int) -> None:
        self._json = args.json
        self._out = args.out
        self._jobs = jobs
        self._items = items
        self._ended: set[str] = set()
        tqdm.set_lock(threading.RLock())  # its own would be shared with processes that we have not
        self._bar: Any = None

    def __enter__(self) -> _Shown:
        self._bar = tqdm(
            total=self._jobs,
            file=sys.stderr,
            disable=not sys.stderr.isatty() or not self._jobs,
            leave=False,
            bar_format="{percentage:3.0f}%|{bar:24}| {elapsed}<{remaining} {desc}",
        )
        for item in self._items:
            if item.error is not None:
                self._failure(item.error)
        return self

    def __exit__(self, *details: object) -> None:
        self._bar.close()

    def update(self, view: JobView) -> None:
        """A job moved on."""
        name = output.one_line(view.name)
        if view.finished_state and view.id not in self._ended:
            self._ended.add(view.id)
            step = view.step or (1, 1)
            if view.state == "done":
                if step[0] == step[1]:
                    self._success(name, view)
            elif step[0] == 1 or view.state == "failed" or not view.error:  # else said before
                self._failure(f"{name}: {view.error or view.state}")
        share = view.done / view.total if view.state == "running" and view.total else 0.0
        self._bar.n = len(self._ended) + min(share, 1.0)
        if view.state == "running":
            step = f"step {view.step[0]} of {view.step[1]}, " if view.step else ""
            self._bar.set_description_str(f"{name}: {step}{view.text}", refresh=False)
        self._bar.refresh()

    def _success(self, name: str, view: JobView) -> None:
        numbers = ", ".join(f"{k} {v:.4g} {u}".rstrip() for k, (v, u) in view.measurements.items())
        files = ", ".join(str(_as_given(file.path, self._out)) for file in view.outputs)
        lines = [f"{name}: {view.seconds or 0:.1f} s -> {files}", numbers, *view.notes]
        text = "\n  ".join(line for line in lines if line)
        self._bar.write(text, file=sys.stderr if self._json else sys.stdout)

    def _failure(self, text: str) -> None:
        self._bar.write(text, file=sys.stderr)
