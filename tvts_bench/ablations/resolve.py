"""What `tvts-pretrain` makes of a preset and settings: asked of a process of its own, since nothing here imports it."""

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from tvts_bench.errors import UserError

_PROGRAM = """
import json, sys
from pretrain.config import compose
from pretrain.schema import plain
from tvts_bench.errors import UserError
asked = json.load(sys.stdin)
try:
    found = [plain(compose(asked["preset"], each)[0]) for each in asked["assignments"]]
except UserError as error:
    found = str(error)
json.dump(found, sys.stdout)
"""


class PretrainingError(UserError):
    """Settings that `tvts-pretrain` refuses; the message is its own."""


def resolve(preset: str, assignments: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    """The whole configuration for each list of `key=value` assignments on top of `preset`, as plain values.

    Raises:
        PretrainingError: no such preset or key, or a value that does not fit; or tvts-pretrain does not start.
    """
    asked = json.dumps({"preset": preset, "assignments": [list(each) for each in assignments]})
    ended = subprocess.run([sys.executable, "-c", _PROGRAM], input=asked, capture_output=True, text=True, check=False)
    try:
        found = json.loads(ended.stdout)
    except ValueError:
        last = ended.stderr.strip().splitlines()[-1:] or [f"exit code {ended.returncode}"]
        raise PretrainingError(f"tvts-pretrain does not start: {last[0]}") from None
    if isinstance(found, str):
        raise PretrainingError(found)
    return list(found)
