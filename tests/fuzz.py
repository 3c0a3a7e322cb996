"""Changed files for the readers and random values for the forms, for as long as is wanted.

`python -m tests.fuzz [--seconds 60] [--kept FOLDER]`. Every reader either reads a file or says a
sentence (`UserError`), and every form and parameter model takes a value or says one; what else
comes is printed with what caused it. The readers are led by what of our code is reached
(tests/guided.py) and run in a process of their own, since what they find may end it; what got
furthest is kept in FOLDER, and the next search begins there too. The forms are given values by
hypothesis, which makes what it finds as small as can be. The exit code is 0 if nothing was found.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from engines import registry
from engines.base import UserError
from tests.guided import explore

ROOT = Path(__file__).resolve().parents[1]
_ROUND = 50  # examples between two looks at the clock
_HELD = 30.0  # seconds after the time is up until a reader is ended


class Finding(Exception):
    """Something that is no sentence."""


def readers(folder: Path) -> list[tuple[str, bytes, Callable[[Path], object]]]:
    """(suffix, a whole file, what reads it)."""
    from engines.media import picture, raw_file, sound_read
    from studio.presets import from_json
    from studio.recipes.book import SHIPPED, read_recipe
    from tests.hostile.case import PICTURE, SOUND
    from tests.hostile.corpus import seeds

    def sound(path: Path) -> None:
        with sound_read.open_sound(path) as opened:
            for _ in zip(opened.blocks(4096), range(8), strict=False):
                pass

    def preset(path: Path) -> None:
        from_json(path.read_text(encoding="utf-8", errors="replace"))

    by_engine = {PICTURE: picture.read_picture, SOUND: sound}
    media = [
        (suffix, whole, by_engine.get(engine, raw_file.read_facts))
        for (engine, suffix), whole in seeds(folder)
        if suffix != "zip"
    ]
    recipe = next(iter(sorted(SHIPPED.glob("*.toml")))).read_bytes()
    kept = b'{"format": "noise-studio-preset", "version": 1, "engine": "a", "params": {}}'
    return [*media, ("toml", recipe, read_recipe), ("json", kept, preset)]


def fuzz_readers(seconds: float, share: Path, said: Any, kept: Path | None = None) -> None:
    """Read changed files until the time is up; runs in a process of its own."""
    with TemporaryDirectory() as place:
        found = readers(Path(place) / "whole")
        names = [suffix for suffix, _, _ in found]
        target = Path(place) / "case"

        def read(which: int, content: bytes) -> None:
            suffix, _, reader = found[which]
            path = target.with_suffix(f".{suffix}")
            path.write_bytes(content)
            share.write_bytes(content)  # what is left to see where this process ends
            share.with_suffix(".name").write_text(suffix)
            _only_sentences(reader, path)

        wholes = [whole for _, whole, _ in found]
        numbers = list(range(len(found)))
        for path in sorted(kept.iterdir()) if kept is not None and kept.is_dir() else ():
            if path.suffix[1:] in names:
                numbers.append(names.index(path.suffix[1:]))
                wholes.append(path.read_bytes())
        searched = explore(
            wholes, lambda which, content: read(numbers[which], content),
            [ROOT / "engines", ROOT / "studio"], until=time.monotonic() + seconds,
            seed=time.time_ns(),
        )  # fmt: skip
        sys.stderr.write(
            f"{searched.tries} files, {searched.steps} steps of code, "
            f"{len(searched.kept) - len(wholes)} inputs that reached new ones\n"
        )
        if kept is not None:
            kept.mkdir(parents=True, exist_ok=True)
            for which, content in searched.kept[len(wholes) :]:
                name = hashlib.sha256(content).hexdigest()[:16]
                (kept / f"{name}.{names[numbers[which]]}").write_bytes(content)
        if searched.wrong is None:
            said.put("")
            return
        which, content, error = searched.wrong
        left = Path(f"fuzz-found.{names[numbers[which]]}")
        left.write_bytes(content)
        said.put("".join(traceback.format_exception(error)) + f"Read {left} to see it again\n")


def fuzz_forms(seconds: float) -> str:
    """Give engines' parameters and the page's forms whatever can be sent, until the time is up."""
    from studio.fields import fields_of
    from studio.jobs.requests import check_params

    ids = registry.engine_ids()
    values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40)
        | st.sampled_from(["", "x" * 10_000, "'; DROP TABLE jobs; --", "<b>", "\0", "1e400", "{"]),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
        max_leaves=6,
    )  # fmt: skip

    @_loop
    @given(st.sampled_from(ids), st.data())
    def once(engine_id: str, data: st.DataObject) -> None:
        fields = fields_of(registry.engine_class(engine_id).Params)
        field = data.draw(st.sampled_from(fields))
        value = data.draw(values)
        read = _only_sentences(field.read, value)
        for given_value in (value, read):
            checked = _only_sentences(check_params, engine_id, {field.name: given_value})
            if checked is not None:
                json.dumps(checked[0], allow_nan=False)
        _only_sentences(check_params, engine_id, {data.draw(st.text(max_size=20)): value})

    return _until(once, time.monotonic() + seconds)


def _only_sentences(call: Callable[..., Any], *given_values: Any) -> Any:
    try:
        return call(*given_values)
    except UserError as error:
        if not str(error).strip() or "\n" in str(error) or "Traceback" in str(error):
            raise Finding(f"no clear sentence: {error}") from error
        return None


def _loop(test: Any) -> Any:
    return settings(
        max_examples=_ROUND, deadline=None, database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=(
            HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much,
        ), print_blob=False,
    )(test)  # fmt: skip


def _until(once: Callable[[], None], ends: float) -> str:
    """Rounds until the time is up; what was found, or ""."""
    rounds = 0
    while time.monotonic() < ends:
        try:
            once()
        except Exception:
            return traceback.format_exc()
        rounds += 1
    sys.stderr.write(f"{rounds * _ROUND} examples\n")
    return ""


def run(seconds: float, kept: Path | None = None) -> list[str]:
    """Half the time for each; what was found."""
    found = [text for text in [fuzz_forms(seconds / 2)] if text]
    context = multiprocessing.get_context("spawn")
    said = context.Queue()
    with TemporaryDirectory() as place:
        share = Path(place) / "last"
        process = context.Process(
            target=fuzz_readers, args=(seconds / 2, share, said, kept), daemon=True
        )
        process.start()
        ends = time.monotonic() + seconds / 2 + 10 * _HELD  # its start reads all of torch
        try:
            while process.is_alive() and said.empty() and time.monotonic() < ends:
                time.sleep(0.2)
            if not said.empty():
                found += [text for text in [said.get()] if text]
            elif share.is_file():
                kept = Path(f"fuzz-last.{share.with_suffix('.name').read_text()}")
                kept.write_bytes(share.read_bytes())
                ended = "took too long over" if process.is_alive() else "was ended by"
                found.append(f"A reader {ended} {kept}")
            else:
                found.append(f"The readers did not start (code {process.exitcode})")
        finally:
            process.kill()
    return found


def main() -> int:
    """See the module's text."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--kept", type=Path, metavar="FOLDER", help="inputs that got furthest")
    args = parser.parse_args()
    found = run(args.seconds, args.kept)
    for text in found:
        print(text.encode(errors="backslashreplace").decode())  # noqa: T201
    print(f"{len(found)} found")  # noqa: T201
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
