"""The same question to a model before and after, one after the other, streamed to a file.

One at a time, so that the speed of each is its own. The page looks at the file while this runs; it
lies in a folder of unfinished work, which only its owner's key leads to.
"""

from __future__ import annotations

import gc
import json
import os
import time
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from engines.base import Cancelled, Job, MediaKind, Params, Result, UserError, option

ANSWER = "answer.json"
_KEPT = 2  # models between two questions
_WRITE_EVERY = 0.1  # seconds

Side = Literal["original", "quantized"]
_kept: OrderedDict[tuple[str, int, str], Any] = OrderedDict()


class AskParams(Params):
    """A question, and how to answer it."""

    key: str = option("", title="Key", description="Names the file of the answer", max_length=64)
    sides: tuple[Side, ...] = option(
        ("original", "quantized"), title="Sides", description="What each input is"
    )
    prompt: str = option("", title="Prompt", description="What to go on from", max_length=8000)
    chat: bool = option(False, title="Chat", description="Answer it rather than go on with it")
    max_tokens: int = option(
        64, title="Length", description="Most tokens of an answer", ge=1, le=1024
    )
    temperature: float = option(
        0.0, title="Temperature", description="0 takes the likeliest token", ge=0.0, le=2.0
    )
    seed: int = option(0, title="Seed", description="Of the draw of tokens", ge=0)


class AskEngine:
    """Asks up to two models; the inputs are their folders, in the order of `sides`."""

    id: ClassVar[str] = "quantize.ask"
    title: ClassVar[str] = "Ask both"
    tab: ClassVar[str] = "Quantization"
    summary: ClassVar[str] = "Puts one question to the original and to the quantized model"
    accepts: ClassVar[tuple[MediaKind, ...]] = ("model",)
    suffixes: ClassVar[tuple[str, ...]] = (".zip",)
    version: ClassVar[str] = "1"
    Params: ClassVar[type[Params]] = AskParams

    def run(self, inputs: Sequence[Path], params: Any, job: Job) -> Result:
        """See `engines.base.Engine.run`; what goes wrong with one model is told in its place."""
        answer = Answer(job.resumable(params.key) / ANSWER, params.sides)
        for side, folder in zip(params.sides, inputs, strict=True):
            try:
                _ask(folder, side, params, answer, job)
            except UserError as error:
                answer.set(side, state="failed", error=str(error))
            except Cancelled:
                answer.set(side, state="stopped")
                raise
        return Result(outputs=())

    @staticmethod
    def forget() -> None:
        """Let go of the models that are kept between two questions."""
        _kept.clear()
        gc.collect()


class Answer:
    """The file of an answer: state, text and speed of each side; always whole."""

    def __init__(self, path: Path, sides: Sequence[str]) -> None:
        self._path = path
        self._written = 0.0
        self._sides: dict[str, dict[str, Any]] = {
            side: {"state": "waiting", "text": "", "tokens": 0, "seconds": 0.0, "error": ""}
            for side in sides
        }
        self._write()

    def set(self, side: str, **values: Any) -> None:
        """Change a side and write it."""
        self._sides[side].update(values)
        self._write()
        self._written = 0.0  # the first piece of text is shown as soon as it comes

    def go_on(self, side: str, text: str, tokens: int, seconds: float) -> None:
        """The text has grown; written ten times a second at most.

        Args:
            side: whose text.
            text: all of it.
            tokens: how many it has.
            seconds: since the first of them.
        """
        self._sides[side].update(text=text, tokens=tokens, seconds=seconds)
        if time.monotonic() - self._written >= _WRITE_EVERY:
            self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        partial = self._path.with_suffix(".partial")
        partial.write_text(json.dumps(self._sides), encoding="utf-8")
        os.replace(partial, self._path)


def _ask(folder: Path, side: Side, params: AskParams, answer: Answer, job: Job) -> None:
    from engines.quantize.runtime import generate

    job.check_cancelled()
    answer.set(side, state="loading")
    loaded = _loaded(folder, job)
    answer.set(side, state="answering")
    job.progress(0, params.max_tokens, f"{side} answers")
    pieces = generate(
        loaded, params.prompt, chat=params.chat, max_new_tokens=params.max_tokens,
        seed=params.seed, temperature=params.temperature, check=job.check_cancelled,
        say=lambda text: None,
    )  # fmt: skip
    text, begun, last = "", time.perf_counter(), 0.0
    for number, piece in enumerate(pieces):
        if number == 0:  # reading the prompt takes as long as it is, and is no speed of writing
            begun = time.perf_counter()
        text, last = text + piece, time.perf_counter() - begun
        answer.go_on(side, text, number + 1, last)
    # A piece may be several tokens, as of a letter that takes more than one.
    tokens = len(loaded.tokenizer(text, add_special_tokens=False)["input_ids"]) if text else 0
    answer.set(side, state="done", text=text, tokens=tokens, seconds=last)


def _loaded(folder: Path, job: Job) -> Any:
    """A model in memory; the one that was asked longest ago makes room.

    Raises:
        UserError: it does not fit, even alone.
    """
    from engines.quantize.runtime import load_model, room

    key = (str(folder), (folder / "config.json").stat().st_mtime_ns, job.device)
    if key not in _kept:
        needed = room.taken(folder)
        while len(_kept) >= _KEPT or (_kept and not room.fits(needed, job.device)):
            _kept.popitem(last=False)
            gc.collect()
        if not room.fits(needed, job.device):
            raise room.refusal(folder.name, needed, job.device)
        _kept[key] = load_model(folder, job.device, check=job.check_cancelled)
    _kept.move_to_end(key)
    return _kept[key]
