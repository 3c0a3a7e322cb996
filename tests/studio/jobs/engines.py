"""Engines that do what a queue has to live with; importable in a spawned worker."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from engines import registry
from engines.base import (
    Comparison,
    Figure,
    Job,
    Measurement,
    MediaKind,
    Output,
    Params,
    Result,
    Track,
    option,
)


class _Demo:
    tab: ClassVar[str] = "Demo"
    summary: ClassVar[str] = "For tests of the queue"
    accepts: ClassVar[tuple[MediaKind, ...]] = ("document",)
    suffixes: ClassVar[tuple[str, ...]] = (".txt",)
    version: ClassVar[str] = "1"


class StuckParams(Params):
    """How not to answer."""

    how: Literal["sleep", "hold", "exit"] = option("sleep", title="How", description="What to do")


class StuckEngine(_Demo):
    """Never looks whether it is to stop."""

    id: ClassVar[str] = "demo.stuck"
    title: ClassVar[str] = "Stuck"
    Params: ClassVar[type[Params]] = StuckParams

    def run(self, inputs: Sequence[Path], params: Any, job: Job) -> Result:
        """See `engines.base.Engine.run`."""
        job.progress(1, 2, "stuck")
        time.sleep(0.2)  # until the progress is seen
        if params.how == "exit":
            sys.exit(3)
        if params.how == "hold":  # in C, and no other thread of this process gets its turn
            re.fullmatch(r"(a+)+", "a" * 60 + "b")
        time.sleep(600)
        raise AssertionError("unreachable")


class LoudParams(Params):
    """Nothing to choose."""


class LoudEngine(_Demo):
    """Prints, as libraries do."""

    id: ClassVar[str] = "demo.loud"
    title: ClassVar[str] = "Loud"
    Params: ClassVar[type[Params]] = LoudParams

    def run(self, inputs: Sequence[Path], params: Any, job: Job) -> Result:
        """See `engines.base.Engine.run`."""
        print("printed", flush=True)  # noqa: T201
        os.write(1, b"printed below Python\n")
        job.log("logged")
        path = job.workspace / "a.txt"
        path.write_text("quiet")
        return Result([Output(path, "document", "text", primary=True)])


class BigParams(Params):
    """How much to write, and to hold in memory."""

    kilobytes: int = option(1, title="Size", description="Bytes written", unit="kB", ge=0)
    hold_mb: int = option(0, title="Memory", description="Memory held", unit="MB", ge=0)
    times: int = option(1, title="Outputs", description="How many files", ge=1)


class BigEngine(_Demo):
    """Writes and holds as much as it is told, and has one of every kind of file."""

    id: ClassVar[str] = "demo.big"
    title: ClassVar[str] = "Big"
    Params: ClassVar[type[Params]] = BigParams

    def run(self, inputs: Sequence[Path], params: Any, job: Job) -> Result:
        """See `engines.base.Engine.run`."""
        held = bytearray(params.hold_mb << 20)
        held[::4096] = b"\1" * len(held[::4096])
        content = inputs[0].read_bytes().ljust(params.kilobytes * 1024, b".")
        outputs = [job.workspace / f"{inputs[0].stem}.{n}.bin" for n in range(params.times)]
        rest = [job.workspace / name for name in ("figure.png", "before.png", "after.png", "t.jpg")]
        heard = [job.workspace / name for name in ("one.flac", "one.png", "two.mp3", "two.png")]
        for path in [*outputs, *rest, *heard, job.workspace / "not declared.tmp"]:
            path.write_bytes(content + path.name.encode())
        job.check_cancelled()
        return Result(
            outputs=[Output(path, "document", path.name, path is outputs[0]) for path in outputs],
            figures=[Figure(rest[0], "a figure", "a line that rises")],
            comparisons=[Comparison(rest[1], rest[2], "image", "the same twice")],
            tracks=[
                Track(heard[0], heard[1], "One", -23.0, [(1000.0, 0.5)]),
                Track(heard[2], heard[3], "Two", float("-inf")),
            ],
            thumbnail=rest[3],
            measurements={
                "size": Measurement(len(content), "B"), "nothing": Measurement(float("nan")),
            },
            models={"none": "0" * 64},
        )  # fmt: skip


def register() -> None:
    """Make them known to the registry of this process."""
    registry.register("demo.stuck", f"{__name__}:StuckEngine")
    registry.register("demo.loud", f"{__name__}:LoudEngine")
    registry.register("demo.big", f"{__name__}:BigEngine")
