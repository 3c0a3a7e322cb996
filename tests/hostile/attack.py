"""Gives the corpus to a real studio and looks at what each case comes to.

`python -m tests.hostile.attack [--every N] [--seconds S]` prints a line a case that went wrong and
the counts; the exit code is 0 if none did.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from engines.base import UserError
from studio.config import LOCAL, Settings
from studio.jobs.service import Studio
from studio.jobs.views import JobView
from tests.hostile.case import MODEL, PICTURE, RAW, SOUND, Case
from tests.hostile.corpus import write_corpus
from tests.hostile.models import TOUCHED

# What makes each engine quick, so that what is attacked is its reading.
QUICK: Mapping[str, Mapping[str, Any]] = {
    PICTURE: {"scale": 2.0}, RAW: {"output": "jpeg", "denoise": "off"},
    SOUND: {"length": 0.5}, MODEL: {"evaluate": False, "speed": False},
}  # fmt: skip
_TOO_LONG = 600  # characters of a sentence
_SIGNS = ("Traceback", 'File "', "line ", "0x7f", "/home/", "/tmp/", "/root/", "<frozen")


@dataclass
class Found:
    """What the cases came to."""

    ended: Counter[str] = field(default_factory=Counter[str])
    wrong: list[str] = field(default_factory=list[str])


def attack(
    cases: Sequence[Case],
    folder: Path,
    patience: float = 60.0,
    say: Callable[[Case, str, str], None] = lambda case, state, error: None,
) -> Found:
    """Run cases one after another in a real studio with a worker process.

    Args:
        cases: see `write_corpus`.
        folder: an empty folder: the studio's, and a beacon beside it that must not be touched.
        patience: seconds that one case may take before it is cancelled, which is wrong too.
        say: told what each comes to.
    """
    found = Found()
    beacon = folder / "beside" / "beacon"
    beacon.parent.mkdir(parents=True)
    beacon.write_text("untouched")
    studio = Studio(Settings(home=folder / "home", device="cpu", open_browser=False))
    before = _state(folder, cases)
    studio.start()
    try:
        session = studio.open_session(LOCAL).id
        for case in cases:
            params = {**_quick(case.engine), **case.params}
            try:
                [job_id] = studio.submit(LOCAL, session, case.engine, [[case.path]], params, seed=1)
            except UserError as error:
                found.ended["refused"] += 1
                say(case, "refused", str(error))
                _judge(case, str(error), found)
                continue
            job = _wait(studio, job_id, patience)
            found.ended[job.state] += 1
            say(case, job.state, job.error or "")
            if job.state == "failed":
                _judge(case, job.error or "", found)
            elif job.state != "done":
                found.wrong.append(f"{case.name}: it did not end within {patience:g} s")
            elif any(file.missing for file in job.outputs):
                found.wrong.append(f"{case.name}: a file of its result is not there")
        for log in (studio.settings.cache / "logs").glob("*.log"):
            last = log.read_text(errors="replace").strip().splitlines()[-1]
            found.wrong.append(f"a traceback was kept: {last[:200]}")
    finally:
        studio.stop()
    after = _state(folder, cases)
    found.wrong += [f"{name} was touched" for name in before.keys() | after.keys()
                    if before.get(name) != after.get(name)]  # fmt: skip
    return found


def _quick(engine: str) -> dict[str, Any]:
    from engines import registry

    known = registry.engine_class(engine).Params.model_fields
    return {name: value for name, value in QUICK[engine].items() if name in known}


def _wait(studio: Studio, job_id: str, patience: float) -> JobView:
    deadline, asked = time.monotonic() + patience, False
    while True:
        job = studio.job(LOCAL, job_id)
        if job.finished_state:
            return job
        if time.monotonic() > deadline and not asked:
            studio.cancel(LOCAL, job_id)
            asked = True
        time.sleep(0.02)


def _judge(case: Case, sentence: str, found: Found) -> None:
    """One clear sentence, for a person: nothing of Python's, no path, no wall of text."""
    sent = str(case.params)
    signs = [sign for sign in _SIGNS if sign in sentence and sign not in sent]
    if not sentence or "\n" in sentence or len(sentence) > _TOO_LONG or signs:
        found.wrong.append(f"{case.name}: no clear sentence: {sentence[:300]!r}")
    elif sentence.startswith("Something unexpected"):
        found.wrong.append(f"{case.name}: {sentence[:200]}")


def _state(folder: Path, cases: Sequence[Case]) -> dict[str, str]:
    """What must be the same afterwards: the beacon, everything beside the home, every input."""
    places = {case.path for case in cases} | {folder / "beside"}
    places |= {path for path in folder.iterdir() if path.name != "home"}
    places |= {Path(TOUCHED), Path("/tmp/hostile-escaped"), Path("/tmp/hostile-escaped.txt")}
    places |= {path.parent.parent / "escaped.txt" for path in places}
    state: dict[str, str] = {}
    for place in places:
        files = place.rglob("*") if place.is_dir() and not place.is_symlink() else [place]
        for file in files:
            if file.is_symlink():
                state[str(file)] = str(file.readlink())
            elif file.is_file():
                state[str(file)] = hashlib.sha256(file.read_bytes()).hexdigest()
    return state


def main() -> int:
    """See the module's text."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile.attack")
    parser.add_argument("--every", type=int, default=1, help="only every so many cases")
    parser.add_argument("--seconds", type=float, default=60.0, help="that one case may take")
    parser.add_argument("--only", default="", help="cases whose name begins like this")
    parser.add_argument("--verbose", action="store_true", help="what each case comes to")
    args = parser.parse_args()

    def say(case: Case, state: str, error: str) -> None:
        if args.verbose:
            line = f"{case.name}: {state} {error}".encode(errors="backslashreplace").decode()
            print(line, flush=True)  # noqa: T201

    with TemporaryDirectory() as place:
        folder = Path(place)
        cases = [
            case
            for case in write_corpus(folder / "corpus")
            if case.name.startswith(tuple(args.only.split(",")))
        ]
        print(f"{len(cases)} cases")  # noqa: T201
        found = attack(cases[:: args.every], folder / "studio", args.seconds, say)
    for line in found.wrong:
        print(line.encode(errors="backslashreplace").decode())  # noqa: T201
    print(f"{dict(found.ended)}, {len(found.wrong)} wrong")  # noqa: T201
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
