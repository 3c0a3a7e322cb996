"""Engines that do what a queue has to live with; importable in a spawned worker."""

from __future__ import annotations

import os
import re
import shutil
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
    UserError,
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


class TreeParams(Params):
    """How many folders to make."""

    times: int = option(1, title="Outputs", description="How many folders", ge=1)
    key: str = option("", title="Key", description="Of work to go on with; empty has none")
    fail_at: int = option(0, title="Fail", description="Stop before this step; 0 does not", ge=0)
    link: bool = option(False, title="Link", description="Put a link into the folder")


class TreeEngine(_Demo):
    """Writes folders; goes on with what an earlier attempt left where a key is given."""

    id: ClassVar[str] = "demo.tree"
    title: ClassVar[str] = "Tree"
    Params: ClassVar[type[Params]] = TreeParams

    def run(self, inputs: Sequence[Path], params: Any, job: Job) -> Result:
        """See `engines.base.Engine.run`."""
        steps = _steps(job, params) if params.key else 0
        content = inputs[0].read_bytes()
        made = [job.workspace / f"{inputs[0].stem}.{n}" for n in range(params.times)]
        for folder in made:
            (folder / "deep").mkdir(parents=True)
            (folder / "config.json").write_bytes(content + folder.name.encode())
            (folder / "deep" / "b.bin").write_bytes(content * 3)
            if params.link:
                (folder / "link").symlink_to(inputs[0])
        beside = job.workspace / f"{inputs[0].stem}.report.json"
        beside.write_bytes(content)
        return Result(
            outputs=[
                *(Output(path, "model", "a folder", path is made[0]) for path in made),
                Output(beside, "document", "report"),
            ],
            measurements={"steps": Measurement(steps)},
        )


def _steps(job: Job, params: Any) -> int:
    """Five steps, of which an earlier attempt may have done some; returns how many were left."""
    folder = job.resumable(params.key)
    left = 0
    for step in range(1, 6):
        if not (folder / str(step)).exists():
            if step == params.fail_at:
                raise UserError("It stops here")
            (folder / str(step)).touch()
            left += 1
    shutil.rmtree(folder)
    return left


class ModelParams(Params):
    """Whether to touch what must not change."""

    spoil: bool = option(False, title="Spoil", description="Change the model while it is read")
    place: str = option("", title="Place", description="A path on this machine", local=True)


class ModelEngine(_Demo):
    """Takes the folder of a model and says what is in it."""

    id: ClassVar[str] = "demo.model"
    title: ClassVar[str] = "Model"
    accepts: ClassVar[tuple[MediaKind, ...]] = ("model",)
    suffixes: ClassVar[tuple[str, ...]] = (".zip",)
    Params: ClassVar[type[Params]] = ModelParams

    def run(self, inputs: Sequence[Path], params: Any, job: Job) -> Result:
        """See `engines.base.Engine.run`."""
        [model] = inputs
        assert model.is_dir()
        names = sorted(p.relative_to(model).as_posix() for p in model.rglob("*") if p.is_file())
        if params.spoil:
            (model / "config.json").write_text("{}")
        made = job.workspace / f"{model.name}-small"
        made.mkdir()
        (made / "config.json").write_text("\n".join(names))
        return Result([Output(made, "model", "small model", primary=True)])


def register() -> None:
    """Make them known to the registry of this process."""
    registry.register("demo.stuck", f"{__name__}:StuckEngine")
    registry.register("demo.loud", f"{__name__}:LoudEngine")
    registry.register("demo.tree", f"{__name__}:TreeEngine")
    registry.register("demo.model", f"{__name__}:ModelEngine")
    registry.register("demo.big", f"{__name__}:BigEngine")
