"""`bench faults`: what is left after kills, a full disk, a read-only folder, a lost input, a clock.

A mixed batch of two owners (quick and slow jobs, small and large results, into the studio's folder
and into one of the person's) runs in a real studio and worker. What failed with a sentence is run
again, as a person would, once the fault is over; then every job must be done, once, and the
database must agree with the files. `STUDIO_BENCH_KILLS` and `STUDIO_BENCH_JOBS` change how much.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from studio.bench import echo
from studio.bench.headless import Headless
from studio.bench.sound import problems
from studio.config import LOCAL, Settings
from studio.jobs.service import Studio
from studio.jobs.views import JobView

TITLE = "What is left after kills, a full disk, a read-only folder, a lost input, a jumping clock"
_PATIENCE = 1800.0  # seconds for a batch
_STILL = 15.0  # seconds without anything ending
_OWNERS = (LOCAL, "f" * 32)


def run() -> list[dict[str, Any]]:
    """One row a fault."""
    return [one() for one in FAULTS.values()]


def _number(name: str, default: int) -> int:
    return int(os.environ.get(f"STUDIO_BENCH_{name}", default))


@dataclass
class Batch:
    """A mixed batch on a home of its own; `studio` queues and looks, and runs nothing."""

    folder: Path
    home: Path
    out: Path
    studio: Studio
    ids: dict[str, str] = field(default_factory=dict)  # job -> owner

    @property
    def inputs(self) -> Path:
        """Folder of the inputs."""
        return self.folder / "inputs"

    def queue(self, count: int, kilobytes: tuple[int, ...] = (0, 64, 512)) -> None:
        """Queue jobs: by turns for two owners, into the studio's folder and into `out`."""
        self.inputs.mkdir(exist_ok=True)
        draw = random.Random(count)  # noqa: S311 - not for secrets
        for number in range(len(self.ids), len(self.ids) + count):
            owner = _OWNERS[number % 2]
            path = self.inputs / f"{number}.txt"
            path.write_text(path.stem)
            params = {
                "seconds": draw.choice((0.0, 0.05, 0.2)), "kilobytes": draw.choice(kilobytes),
            }  # fmt: skip
            [job] = self.studio.submit(
                owner, self.studio.open_session(owner).id, echo.ENGINE, [[path]], params,
                out_dir=self.out if number % 4 < 2 else None, seed=1,
            )  # fmt: skip
            self.ids[job] = owner

    def jobs(self) -> list[JobView]:
        """All of them as they are now."""
        return [self.studio.job(owner, job) for job, owner in self.ids.items()]

    def ended(self) -> int:
        """How many have ended."""
        return sum(
            self.studio.counts(owner).get(state, 0)
            for owner in _OWNERS
            for state in ("done", "failed", "cancelled")
        )

    def wait(self, count: int | None = None) -> list[JobView]:
        """Until so many have ended, or all."""
        wanted, deadline = len(self.ids) if count is None else count, time.monotonic() + _PATIENCE
        while self.ended() < wanted:
            if time.monotonic() > deadline:
                raise RuntimeError("the queue stands still")
            time.sleep(0.02)
        return self.jobs()

    def settle(self) -> None:
        """Until all have ended, or something has and then nothing for a while."""
        before, since = self.ended(), time.monotonic()
        while before < len(self.ids) and (not before or time.monotonic() - since < _STILL):
            time.sleep(0.1)
            if self.ended() != before:
                before, since = self.ended(), time.monotonic()

    def retry(self) -> list[JobView]:
        """Run again what failed, until all is done (or it fails three times more)."""
        for _ in range(4):
            failed = [job for job in self.jobs() if job.state == "failed"]
            if not failed:
                break
            for job in failed:
                self.studio.store.requeue(self.ids[job.id], [job.id])
            self.wait()
        return self.jobs()

    def row(self, fault: str, times: int, failed: list[JobView], **more: Any) -> dict[str, Any]:
        """What is left; call when no studio runs."""
        jobs = self.jobs()
        untrue = problems(self.home, self.out)
        expected = {
            f"{job.inputs[0].path.stem}.echo.txt"
            for job in jobs
            if job.state == "done" and any(self.out == file.path.parent for file in job.outputs)
        }
        there = {path.name for path in self.out.iterdir()} if self.out.is_dir() else set()
        untrue += [f"{name} is there twice, or should not be" for name in there - expected]
        for job in jobs:
            for file in job.outputs:
                begins = file.path.read_text()[: len(job.inputs[0].path.stem)]
                if begins != job.inputs[0].path.stem:
                    untrue.append(f"{file.name} is somebody else's")
        for line in untrue[:20]:
            sys.stderr.write(f"{fault}: {line}\n")
        for job in failed[:3]:
            sys.stderr.write(f"{fault}: told: {job.error}\n")
        return {
            "fault": fault,
            "times": times,
            "jobs": len(jobs),
            "failed_with_a_sentence": sum(bool(job.error) for job in failed),
            "done_in_the_end": sum(job.state == "done" for job in jobs),
            "lost": sum(job.state not in ("done", "failed") for job in jobs),
            "twice_or_stray": len(there - expected),
            "untrue": len(untrue),
            **more,
        }


@contextmanager
def _batch(home: Path | None = None, out: Path | None = None) -> Generator[Batch]:
    echo.register()
    with TemporaryDirectory() as place:
        folder = Path(place)
        home, out = home or folder / "home", out or folder / "out"
        studio = Studio(Settings(home=home, device="cpu", open_browser=False))
        try:
            yield Batch(folder, home, out, studio)
        finally:
            studio.stop()


@contextmanager
def _running(batch: Batch, *options: str) -> Generator[Headless]:
    process = Headless(batch.home, *options)
    try:
        process.start()
        yield process
    finally:
        process.stop()


def kills() -> dict[str, Any]:
    """SIGKILL of the worker or of the whole studio at random moments."""
    wanted, size = _number("KILLS", 50), _number("JOBS", 400)
    draw = random.Random(7)  # noqa: S311 - not for secrets
    hit = {"worker": 0, "studio": 0}
    with _batch() as batch:
        batch.queue(size)
        with _running(batch) as process:
            for kill in range(1, wanted + 1):
                # So spread that each kill finds some left, after one that has surely begun to work.
                batch.wait(max(batch.ended() + 1, size * kill // (wanted + 2)))
                time.sleep(draw.uniform(0.0, 0.4))
                if batch.ended() == len(batch.ids):
                    batch.queue(size // 4)
                workers = process.workers()
                if workers and draw.random() < 0.5:
                    with suppress(psutil.NoSuchProcess):
                        workers[0].kill()
                    hit["worker"] += 1
                else:
                    process.kill()
                    hit["studio"] += 1
                    process.start()
            failed = [job for job in batch.wait() if job.state == "failed"]
            batch.retry()
        return batch.row("kill -9", wanted, failed, of_workers=hit["worker"])


def full_disk() -> dict[str, Any]:
    """A disk that is full in the middle of a batch, and has room again later."""
    with TemporaryDirectory() as place, _small_disk(Path(place), 12) as disk:
        if disk is None:
            return _limited_files()
        home = disk / "home"
        with _batch(home, disk / "out") as batch:
            batch.queue(24, (0, 600, 900))
            ballast = disk / "ballast"
            free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
            ballast.write_bytes(b"." * max(0, free - 3 * 2**20))
            with _running(batch):
                # Where not even the database can be written the queue waits, by intent, for room.
                batch.settle()
                ballast.unlink()
                failed = [job for job in batch.wait() if job.state == "failed"]
                _smaller(batch, failed)
                batch.retry()
            return batch.row("full disk (tmpfs)", 1, failed)


def _smaller(batch: Batch, failed: list[JobView]) -> None:
    """Ask for less of what did not fit, so that it fits on a disk of this size."""
    from sqlalchemy import update

    from db.database import writing
    from db.schema import JobRow

    with writing(batch.studio.store._factory) as session:
        for job in failed:
            params = {**job.params, "kilobytes": 1}
            session.execute(update(JobRow).where(JobRow.id == job.id).values(params=params))


def _limited_files() -> dict[str, Any]:
    with _batch() as batch:
        batch.queue(24, (0, 3000))
        with _running(batch, "--most", str(2 * 2**20)):
            failed = [job for job in batch.wait() if job.state == "failed"]
        with _running(batch):
            batch.retry()
        return batch.row("full disk (RLIMIT_FSIZE)", 1, failed)


def read_only() -> dict[str, Any]:
    """A folder of the person's that cannot be written."""
    with TemporaryDirectory() as place, _small_disk(Path(place), 12) as disk:
        out = disk or Path(place)
        with _batch(out=out) as batch:
            batch.queue(12)
            with _not_writable(out, mounted=disk is not None), _running(batch):
                failed = [job for job in batch.wait() if job.state == "failed"]
            with _running(batch):
                batch.retry()
            return batch.row("read-only folder", 1, failed)


def lost_input() -> dict[str, Any]:
    """Inputs that are deleted while they wait."""
    with _batch() as batch:
        batch.queue(12)
        gone = [batch.inputs / f"{number}.txt" for number in (2, 5, 11)]
        for path in gone:
            path.unlink()
        with _running(batch):
            failed = [job for job in batch.wait() if job.state == "failed"]
            for path in gone:
                path.write_text(path.stem)
            batch.retry()
        return batch.row("vanished input", len(gone), failed)


def clock() -> dict[str, Any]:
    """A wall clock that jumps by up to a day at every look, with two kills."""
    with _batch() as batch:
        batch.queue(24)
        with _running(batch, "--clock") as process:
            for ended in (6, 12):
                batch.wait(ended)
                process.kill()
                process.start()
            failed = [job for job in batch.wait() if job.state == "failed"]
            batch.retry()
        spent = [job.seconds for job in batch.jobs()]
        wrong = sum(one is None or not 0 <= one < 600 for one in spent)
        return batch.row("clock that jumps", 1, failed, wrong_seconds=wrong)


FAULTS: dict[str, Callable[[], dict[str, Any]]] = {
    "kills": kills, "full disk": full_disk, "read-only": read_only, "lost input": lost_input,
    "clock": clock,
}  # fmt: skip


@contextmanager
def _small_disk(place: Path, megabytes: int) -> Generator[Path | None]:
    """A file system of that size, where this user may make one."""
    size = f"size={megabytes}m"
    command = ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:  # noqa: S603
        yield None
        return
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False)  # noqa: S603, S607


@contextmanager
def _not_writable(folder: Path, *, mounted: bool) -> Generator[None]:
    """Within, nothing can be written there."""

    def make(writable: bool) -> None:
        if not mounted:  # to root, who alone mounts, it would mean nothing
            folder.chmod(0o755 if writable else 0o555)
            return
        mode = f"remount,{'rw' if writable else 'ro'}"
        subprocess.run(["mount", "-o", mode, str(folder)], check=True)  # noqa: S603, S607

    make(writable=False)
    try:
        yield
    finally:
        make(writable=True)
