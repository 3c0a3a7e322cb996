"""What somebody looks for in the library, as page, command line and API say it."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from engines.base import UserError

PAGE = 60
Sort = Literal["newest", "oldest", "name", "largest", "slowest", "low", "high"]
_BOUND = re.compile(
    r"\s*([^<>=]*[^<>=\s])\s*(<=|>=|<|>|=)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)\s*", re.I
)
_SIGNS: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "=": operator.eq,
}  # fmt: skip
_MOST = 5  # bounds


class Bound(BaseModel):
    """A measured value that a job must have, such as K > 2."""

    model_config = ConfigDict(frozen=True)

    name: str
    sign: Literal["<", "<=", ">", ">=", "="]
    value: float

    def holds(self, column: Any) -> Any:
        """The comparison on a column, or a number."""
        return _SIGNS[self.sign](column, self.value)


def bounds(text: str) -> tuple[Bound, ...]:
    """Read "K > 2, perplexity < 20"; names as they are shown or stored.

    Raises:
        UserError: a part of it is no comparison with a number.
    """
    found: list[Bound] = []
    for part in re.split(r",|;|\band\b|&", text):
        if not part.strip():
            continue
        match = _BOUND.fullmatch(part)
        if match is None or len(found) == _MOST:
            raise UserError(
                "A measured value is asked for as K > 2 or perplexity < 20; several with commas"
            )
        name, sign, value = match.groups()
        found.append(Bound(name="_".join(name.split()), sign=sign, value=float(value)))  # type: ignore[arg-type]
    return tuple(found)


def _read_bounds(value: Any) -> Any:
    return bounds(value) if isinstance(value, str) else value


def _none_if_empty(value: Any) -> Any:
    return None if value == "" else value


_Moment = Annotated[datetime | None, BeforeValidator(_none_if_empty)]


class Wanted(BaseModel):
    """A question to the library; what is empty does not matter.

    Attributes:
        search: words that must all be in the names of a job's files.
        engine: id of an engine, or its first part such as "raw".
        kind: of the result: raw, image, audio, video, model, profile or document.
        state: of the job.
        session: id of a session.
        camera: as the file names it.
        since, until: when it was asked for.
        measured: bounds that all hold.
        sort: low and high are by the first of the measured values.
        trash: look at what was deleted instead.
        page: from 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    search: Annotated[str, Field(max_length=200)] = ""
    engine: Annotated[str, Field(max_length=80)] = ""
    kind: Annotated[str, Field(max_length=12)] = ""
    state: Annotated[str, Field(max_length=12)] = ""
    session: Annotated[str, Field(max_length=32)] = ""
    camera: Annotated[str, Field(max_length=120)] = ""
    since: _Moment = None
    until: _Moment = None
    measured: Annotated[tuple[Bound, ...], BeforeValidator(_read_bounds)] = ()
    sort: Sort = "newest"
    trash: bool = False
    page: Annotated[int, Field(ge=0, le=1_000_000)] = 0

    @classmethod
    def of(cls, values: Any) -> Wanted:
        """From names and texts, as an address has them.

        Raises:
            UserError: one of them cannot be understood.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0]) if first["loc"] else "value"
            raise UserError(f"This cannot be looked for ({name}); change it") from error

    @property
    def narrowed(self) -> bool:
        """Whether it leaves anything out."""
        return self.model_copy(update={"sort": "newest", "page": 0}) != Wanted()
