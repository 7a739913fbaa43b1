"""What `tvts-pretrain` makes of a preset and settings: asked of a process of its own, since nothing here imports it."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tvts_bench.errors import UserError

ERROR = "error: "  # what every error in one sentence begins with


class PretrainingError(UserError):
    """Settings that `tvts-pretrain` refuses; the message is its own."""


def resolve(preset: str, assignments: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    """The whole configuration for each list of `key=value` assignments on top of `preset`, as plain values.

    Raises:
        PretrainingError: no such preset or key, or a value that does not fit; or tvts-pretrain does not start.
    """
    each = json.dumps([list(one) for one in assignments])
    return list(json.loads(_ask(["config", preset, "--each", "-", "--json"], each)))


def changed_files(runs: Sequence[Path]) -> dict[Path, list[str]]:
    """Of each run's folder, the samples whose files changed since it began.

    Raises:
        PretrainingError: the sources of one cannot be read any more; or tvts-pretrain does not start.
    """
    found = json.loads(_ask(["changed", *map(str, runs)])) if runs else {}
    return {Path(folder): list(names) for folder, names in found.items()}


def start_file(seed: int, cache: str | None) -> Path:
    """The common start of that seed, made in `cache` (the user's if None) where it is not there: a minute, once.

    Raises:
        PretrainingError: it cannot be made.
    """
    said = _ask(["start", "--seed", str(seed), *([] if cache is None else ["--cache", cache])])
    return Path(said.strip().splitlines()[-1])


def _ask(arguments: Sequence[str], text: str = "") -> str:
    """What a command of tvts-pretrain prints."""
    command = [sys.executable, "-m", "pretrain", *arguments]
    ended = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if ended.returncode == 0:
        return ended.stdout
    written = ended.stderr.strip()
    if ERROR in written:
        raise PretrainingError(written.rpartition(ERROR)[2])
    last = written.splitlines()[-1:] or [f"exit code {ended.returncode}"]
    raise PretrainingError(f"tvts-pretrain does not start: {last[0]}")
