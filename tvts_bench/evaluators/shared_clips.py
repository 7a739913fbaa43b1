"""Clips that are trained on and tested on: said before anything is computed."""

from collections.abc import Sequence

from tvts_bench.datasets.base import VideoRecord
from tvts_bench.evaluators.base import EvaluationError

SHOWN = 3  # clips named in the message


def shared_clips(train: Sequence[VideoRecord], test: Sequence[VideoRecord]) -> tuple[str, ...]:
    """Ids of the test clips whose file is a training clip's, too.

    Not their ids: in a folder with train/ and test/, `class/1.mp4` is another file in each.
    """
    paths = {record.path for record in train}
    return tuple(record.id for record in test if record.path in paths)


def refuse_shared_clips(train: Sequence[VideoRecord], test: Sequence[VideoRecord], *, allowed: bool) -> tuple[str, ...]:
    """What a reader must know of clips that are in both; nothing where there are none.

    Raises:
        EvaluationError: there are some, and they are not allowed.
    """
    shared = shared_clips(train, test)
    if not shared:
        return ()
    named = ", ".join(shared[:SHOWN]) + (", ..." if len(shared) > SHOWN else "")
    found = f"{len(shared):,} of {len(test):,} test clips are training clips, too ({named})"
    if not allowed:
        raise EvaluationError(
            f"{found}: what is measured on them is memory; take them out of a list, or keep them with"
            " --allow-shared-clips"
        )
    return (f"{found}: the number is too high",)
