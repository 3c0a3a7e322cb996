"""Without a command: the page, until Ctrl-C."""

from __future__ import annotations

import argparse

from engines.base import UserError
from studio.commands import output, settings


def serve(args: argparse.Namespace) -> int:
    """Open the studio.

    Raises:
        UserError: an option is wrong, or the page cannot be served.
    """
    chosen = settings.load(args)
    if chosen.share and not chosen.auth:
        raise UserError("--share opens the studio to the world; give --auth USER:PASSWORD with it")
    if chosen.shared and not chosen.auth and not chosen.space:
        output.say(
            f"Everybody who reaches {chosen.host} can use this studio; --auth asks who it is"
        )
    # Gradio takes seconds to import, so only after what can be wrong is known to be right.
    from studio.app import serve as open_until_stopped
    from studio.jobs.service import Studio

    studio = Studio(chosen)
    studio.start()
    try:
        if not studio.is_runner:
            output.say(
                "Another studio is open on this folder and does the jobs; this one shows them"
            )
        open_until_stopped(studio, chosen)
    finally:
        studio.stop()
    return 0
