"""HTML made from templates in assets/templates; every value is escaped unless it is markup already.

The page shows names and sentences that people wrote, so no HTML is ever put together by hand.
"""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

if TYPE_CHECKING:
    from studio.jobs.views import ArtifactView

TEMPLATES = Path(__file__).resolve().parents[1] / "assets" / "templates"


def filesize(count: int | float) -> str:
    """Bytes as a person reads them: 812 kB, 24.3 MB."""
    value = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 999.5:
            digits = 0 if unit in ("bytes", "kB") or value >= 100 else 1
            return f"{value:.{digits}f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def duration(seconds: float | None) -> str:
    """Seconds as 8 s, 3 min 20 s or 2 h 5 min; "" for None."""
    if seconds is None or not math.isfinite(seconds):
        return ""
    if seconds < 10:
        return f"{seconds:.1f} s" if seconds % 1 >= 0.05 else f"{seconds:.0f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def figures(value: Any) -> str:
    """A number with up to four significant figures and no exponent where it can be avoided."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or (math.isfinite(value) and value == round(value)):
        return f"{value:.0f}"
    return f"{value:.4g}" if 1e-4 <= abs(value) < 1e5 else f"{value:.3g}"


def when(moment: datetime | None) -> Markup:
    """A time that the browser shows in the person's own zone and habit."""
    if moment is None:
        return Markup("")
    fallback = moment.strftime("%Y-%m-%d %H:%M UTC")
    return Markup('<ns-time at="{}">{}</ns-time>').format(moment.isoformat(), fallback)


def file_url(artifact_id: str, name: str, *, download: bool = False) -> str:
    """Address of an owner-checked file, relative to the page."""
    ending = "?download=1" if download else ""
    return f"studio/file/{quote(artifact_id)}/{quote(name, safe='')}{ending}"


def download_url(file: ArtifactView) -> str:
    """Address to save a file from, or a folder as a zip, relative to the page."""
    if file.folder:
        return f"studio/zip/folder/{quote(file.id)}"
    return file_url(file.id, file.name, download=True)


def chosen_url(session: str, tab: str, key: str, name: str) -> str:
    """Address of a chosen file that its owner may listen to, relative to the page."""
    return f"studio/chosen/{quote(session)}/{quote(tab)}/{quote(key)}/{quote(name, safe='')}"


def overview_url(session: str, tab: str, key: str) -> str:
    """Address of a chosen picture as a browser can show it, relative to the page."""
    return f"studio/overview/{quote(session)}/{quote(tab)}/{quote(key)}"


def region_url(session: str, tab: str, key: str) -> str:
    """Address to have a region of a chosen picture enlarged, relative to the page."""
    return f"studio/region/{quote(session)}/{quote(tab)}/{quote(key)}"


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        filesize=filesize, duration=duration, figures=figures, when=when, plural=plural
    )
    environment.globals.update(file_url=file_url, download_url=download_url)
    return environment


def plural(count: int, one: str, many: str = "") -> str:
    """The count and its noun: 1 file, 3 files."""
    return f"{count} {one if count == 1 else many or one + 's'}"


_ENVIRONMENT = _environment()


def render(template: str, **values: Any) -> str:
    """Fill a template; strings among `values` are escaped.

    Raises:
        jinja2.UndefinedError: the template names a value that is not given.
    """
    return _ENVIRONMENT.get_template(template).render(**values).strip()


def part(template: str, **values: Any) -> Markup:
    """A filled template to be put into another one as it is."""
    return Markup(render(template, **values))  # noqa: S704 - the template has escaped its values


def sentence(text: str) -> str:
    """A message made safe for Gradio's own toasts, which read their text as HTML."""
    return str(escape(text))
