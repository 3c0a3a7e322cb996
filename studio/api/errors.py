"""Errors for programs: one sentence each, and a code that stays as it is."""

from __future__ import annotations

from typing import Literal

from engines.base import UserError
from studio.jobs.views import NotFound
from studio.limits import LimitReached

Code = Literal[
    "invalid",  # a parameter or a request that cannot be used
    "no_such_engine",
    "no_such_file",  # it was not uploaded by the caller, or is not there
    "not_found",  # no such job, or somebody else's
    "not_identified",  # a key, a cookie or a password is missing
    "limit_reached",  # too much for one caller, or for the studio at present
    "internal",  # the studio's own fault
]
UNEXPECTED = "Something unexpected went wrong in the studio; try again"


class ApiError(UserError):
    """A sentence with its code."""

    def __init__(self, code: Code, sentence: str) -> None:
        super().__init__(sentence)
        self.code: Code = code


def code_of(error: Exception) -> tuple[Code, str]:
    """Code and sentence of whatever went wrong."""
    if isinstance(error, ApiError):
        return error.code, str(error)
    if isinstance(error, NotFound):
        return "not_found", str(error)
    if isinstance(error, LimitReached):
        return "limit_reached", str(error)
    if isinstance(error, UserError):
        return "invalid", str(error)
    return "internal", UNEXPECTED
