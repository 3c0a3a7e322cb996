"""From the command line's options to `studio.config.Settings`."""

from __future__ import annotations

import argparse
import re

from engines.base import UserError
from studio.config import Settings
from studio.options import OPTIONS, read_auth

_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


def load(args: argparse.Namespace) -> Settings:
    """Settings with what was given on the command line.

    Raises:
        UserError: an option's value is none that is known.
    """
    given = {option.name: getattr(args, option.name, None) for option in OPTIONS}
    given |= {
        "auth": read_auth(args.auth) if args.auth else None,
        "open_browser": args.open_browser,
        "executor": _executor(args.executor),
        "device": device(args),
    }
    return Settings.load(**given)


def device(args: argparse.Namespace) -> str | None:
    """The device that was asked for, or None.

    Raises:
        UserError: there is no device of that name.
    """
    if args.device is not None and not _DEVICE.fullmatch(args.device):
        raise UserError(f"A device is called cpu, cuda, cuda:1 or mps: {args.device}")
    return args.device


def _executor(given: str | None) -> str | None:
    if given is not None and given.startswith("dask:"):
        raise UserError(
            "Jobs cannot go to a cluster yet; leave out --executor, or set it to worker"
        )
    if given not in (None, "worker", "inline"):
        raise UserError(f"An executor is called worker or inline: {given}")
    return given
