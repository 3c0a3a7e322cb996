"""What makes `run` fit for folders: their order, what is done already, and a page that sums up."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from engines.base import UserError
from studio.commands.work import Work, outcome
from studio.config import LOCAL, VERSION
from studio.jobs.views import JobView

SUMMARY = "summary.html"
_FIRST = ("iso", "K", "sigma", "confidence")  # columns that are shown first where there are such
_COLUMNS = 5
_ASIDE = ("megapixels", "megapixels_per_second", "peak_mb", "passes", "hot_pixels")
_LARGEST_THUMBNAIL = 100_000  # bytes
_STYLE = """
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif; }
body { margin: 2rem auto; max-width: 90rem; padding: 0 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .4rem .7rem;
  border-bottom: 1px solid color-mix(in srgb, currentColor 20%, transparent); }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
img { display: block; max-width: 7rem; max-height: 5rem; border-radius: 3px; }
.failed { color: #c62828; }
ul { margin: 0; min-width: 20rem; padding-left: 1.1rem; }
@media (prefers-color-scheme: dark) { .failed { color: #ff8a80; } }
"""


def natural(path: Path | str) -> list[tuple[int, int, str]]:
    """Sorts names as a person counts: IMG_2 before IMG_10."""
    parts = re.split(r"([0-9]+)", str(path).lower())
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts]


def done_before(work: Work, paths: Sequence[Path], out: Path) -> dict[Path, list[JobView]]:
    """Jobs that did the same to files as they are now, and whose results are still in `out`.

    Raises:
        UserError: the work is a recipe.
    """
    if work.steps != 1 or "params" not in work.content:
        raise UserError("A recipe has several jobs a file; leave --skip-done out")
    wanted = set(paths)
    found: dict[Path, list[JobView]] = {}
    jobs = work.studio.store.jobs(
        LOCAL, states=("done",), engine_prefix=work.first.id, limit=1_000_000
    )
    for job in jobs:
        same = job.engine == work.first.id and job.engine_version == work.first.version
        if not same or dict(job.params) != work.content["params"] or len(job.inputs) != 1:
            continue
        [given] = job.inputs
        if given.path not in wanted or given.path in found or job.started is None:
            continue
        facts = given.path.stat() if given.path.is_file() else None
        if facts is None or facts.st_size != given.bytes:
            continue
        if facts.st_mtime > job.started.timestamp() or not job.outputs:
            continue
        if all(not file.missing and file.path.parent == out.absolute() for file in job.outputs):
            found[given.path] = [job]
    return found


def write_summary(
    out: Path,
    label: str,
    files: Sequence[tuple[str, Sequence[JobView] | None, str | None]],
    before: Mapping[Path, object],
) -> Path:
    """Write one page that says of every file what became of it.

    Args:
        out: the folder with the results; `summary.html` in it is replaced.
        label: what was done.
        files: name, jobs (None where there are none) and what is wrong with the name.
        before: input paths whose results were there already.

    Returns:
        The page.
    """
    ends = [None if jobs is None else outcome(jobs) for _, jobs, _ in files]
    names = _columns([end for end in ends if end is not None])
    rows: list[str] = []
    for (name, jobs, wrong), end in zip(files, ends, strict=True):
        seconds = sum(job.seconds or 0.0 for job in jobs or ())
        skipped = end is not None and any(file.path in before for file in end.inputs)
        rows.append(_row(name, end, wrong, names, seconds, skipped=skipped))
    done = sum(end is not None and end.state == "done" for end in ends)
    time = sum(job.seconds or 0.0 for _, jobs, _ in files for job in jobs or ())
    head = "".join(f"<th class=number>{_said(name.replace('_', ' '))}</th>" for name in names)
    text = (
        f"{done} of {len(files)} files done, {len(files) - done} not; {_time(time)} of work; "
        f"Noise Studio {VERSION}"
    )
    page = (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{_said(label)}</title>"
        "<meta name=viewport content='width=device-width'>"
        f"<style>{_STYLE}</style><h1>{_said(label)}</h1><p>{_said(text)}</p><div class=wide>"
        f"<table><thead><tr><th><th>File</th><th>State</th>{head}<th class=number>Time</th>"
        f"<th>Notes</th></tr></thead><tbody>{''.join(rows)}</tbody></table></div></html>\n"
    )
    out.mkdir(parents=True, exist_ok=True)
    place, temporary = out / SUMMARY, out / f".{SUMMARY}.part"
    temporary.write_text(page, encoding="utf-8", errors="replace")
    temporary.replace(place)
    return place


def _columns(jobs: Sequence[JobView]) -> list[str]:
    there = list(dict.fromkeys(name for job in jobs for name in job.measurements))
    first = [name for name in _FIRST if name in there]
    rest = [name for name in there if name not in (*_FIRST, *_ASIDE)]
    return (first + rest)[:_COLUMNS]


def _row(
    name: str,
    job: JobView | None,
    wrong: str | None,
    names: Sequence[str],
    seconds: float,
    *,
    skipped: bool,
) -> str:
    if job is None:
        gaps = "<td></td>" * len(names)
        return (
            f"<tr><td></td><td>{_said(name)}</td><td class=failed>failed</td>{gaps}<td></td>"
            f"<td>{_said(wrong or '')}</td></tr>"
        )
    cells: list[str] = []
    for column in names:
        value, unit = job.measurements.get(column, (None, ""))
        shown = "" if value is None else f"{value:.4g} {unit}".strip()
        cells.append(f"<td class=number>{_said(shown)}</td>")
    said = [*([job.error] if job.error else []), *job.notes]
    notes = "".join(f"<li>{_said(one)}</li>" for one in said)
    state = "done before" if skipped else job.state
    good = "" if job.state == "done" else " class=failed"
    return (
        f"<tr><td>{_picture(job)}</td><td>{_said(name)}</td><td{good}>{_said(state)}</td>"
        f"{''.join(cells)}<td class=number>{_time(seconds)}</td>"
        f"<td>{f'<ul>{notes}</ul>' if notes else ''}</td></tr>"
    )


def _picture(job: JobView) -> str:
    file = job.thumbnail
    if file is None or file.path.suffix.lower() not in (".jpg", ".jpeg"):
        return ""
    try:
        data = file.path.read_bytes()
    except OSError:
        return ""
    if len(data) > _LARGEST_THUMBNAIL:
        return ""
    return f"<img alt='' src='data:image/jpeg;base64,{base64.b64encode(data).decode()}'>"


def _time(seconds: float) -> str:
    if seconds < 120.0:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def _said(text: str) -> str:
    return html.escape("".join(letter if letter.isprintable() else "?" for letter in text))
