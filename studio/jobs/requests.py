"""What is asked of the studio, before it is queued: checked, and known again by a name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from engines import registry
from engines.base import UserError, is_local, takes_together
from studio.folders import tree_facts
from studio.jobs.perform import validation_sentence


def items_of(engine_id: str, inputs: Sequence[Path]) -> list[list[Path]]:
    """What makes up an item: each file for itself, or for some engines all of them together."""
    if takes_together(registry.engine_class(engine_id)):
        return [list(inputs)]
    return [[path] for path in inputs]


def check_params(engine_id: str, params: Mapping[str, Any]) -> tuple[dict[str, Any], str, str]:
    """Validated parameter values, the engine's version, and the kind of its inputs.

    Raises:
        UserError: there is no such engine or parameter, or a value is out of bounds.
    """
    engine = registry.engine_class(engine_id)
    try:
        checked = engine.Params.model_validate(dict(params))
    except ValidationError as error:
        raise UserError(validation_sentence(error)) from error
    return checked.model_dump(mode="json"), engine.version, engine.accepts[0]


def refuse_local(engine_id: str, params: Mapping[str, Any]) -> None:
    """A visitor sets nothing that names something on this machine.

    Raises:
        UserError: one of these parameters is not the default.
    """
    model = registry.engine_class(engine_id).Params
    usual = model().model_dump(mode="json")  # as `params` are: a tuple is a list there
    for name, info in model.model_fields.items():
        if is_local(info) and params.get(name) != usual[name]:
            raise UserError(
                f"{info.title} names something on the studio's own machine and can only be set "
                "there; leave it as it is"
            )


def batch_key(
    engine_id: str, params: Mapping[str, Any], out_dir: Path, inputs: Sequence[Path]
) -> str:
    """Names a batch by what is asked for: the same files, by size and time, have the same key."""
    files: list[tuple[str, int, int]] = []
    for path in inputs:
        facts = path.stat() if path.exists() else None
        size, changed = (facts.st_size, facts.st_mtime_ns) if facts else (-1, -1)
        if path.is_dir():
            size, changed = tree_facts(path)
        files.append((str(path.absolute()), size, changed))
    text = json.dumps([engine_id, params, str(out_dir.absolute()), files], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
