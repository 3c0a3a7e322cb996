"""What a large network costs without a GPU, said before it starts."""

from __future__ import annotations

from engines.base import Job
from engines.progress import duration

_RATE = 36e9  # operations a second that two cores of a CPU keep up in convolutions
_WORTH = 60.0  # seconds a megapixel from which on it is said


def told(job: Job, macs: float) -> tuple[str, ...]:
    """Tell the job's log how long a megapixel of the result takes.

    Args:
        job: of the studio.
        macs: multiplications with additions for each pixel of the result.

    Returns:
        The sentence, for the notes; nothing where it is quick, or there is a GPU.
    """
    seconds = 2.0 * macs * 1e6 / _RATE
    if job.device != "cpu" or seconds < _WORTH:
        return ()
    said = f"Without a GPU each megapixel of the result takes about {duration(seconds)}"
    job.log(said)
    job.progress(2, 100, f"about {duration(seconds)} for each megapixel of the result")
    return (said,)
