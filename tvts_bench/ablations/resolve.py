"""What `tvts-pretrain` makes of a preset and settings: asked of a process of its own, since nothing here imports it."""

import json
import subprocess
import sys
from collections.abc import Sequence
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
    command = [sys.executable, "-m", "pretrain", "config", preset, "--each", "-", "--json"]
    ended = subprocess.run(command, input=each, capture_output=True, text=True, check=False)
    if ended.returncode == 0:
        return list(json.loads(ended.stdout))
    said = ended.stderr.strip()
    if said.startswith(ERROR):
        raise PretrainingError(said.removeprefix(ERROR))
    last = said.splitlines()[-1:] or [f"exit code {ended.returncode}"]
    raise PretrainingError(f"tvts-pretrain does not start: {last[0]}")
