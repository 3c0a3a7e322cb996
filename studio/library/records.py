"""How a result was made, as JSON that can leave the machine: no path, no owner, no host."""

from __future__ import annotations

from typing import Any

from studio.jobs.views import JobView


def record(job: JobView) -> dict[str, Any]:
    """Everything that it takes to make the same again, and what was measured."""
    return {
        "engine": job.engine,
        "engine_version": job.engine_version,
        "params": dict(job.params),
        "seed": job.seed,
        "device": job.device,
        "finished": job.finished.isoformat() if job.finished else None,
        "seconds": job.seconds,
        "camera": job.camera,
        "inputs": [{"name": file.name, "sha256": file.sha256} for file in job.inputs],
        "outputs": [
            {"name": file.name, "label": file.label, "sha256": file.sha256, "bytes": file.bytes}
            for file in job.outputs
        ],
        "measurements": {
            name: {"value": value, "unit": unit} for name, (value, unit) in job.measurements.items()
        },
        "notes": list(job.notes),
        "models": dict(job.models),
        "versions": dict(job.versions),
    }
