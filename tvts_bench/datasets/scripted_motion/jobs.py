"""A job: some items of one part, made and written."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tvts_bench.datasets.scripted_motion.produce import folder, items, produce
from tvts_bench.datasets.scripted_motion.world import from_fields

UNFINISHED = ".making"
"""Folder, under the world's, for what parts that are not complete need; removed at the end."""


def run_job(job: Mapping[str, Any]) -> dict[str, Any]:
    """Write items `start` to `stop` of `part` of the world with `fields` under `out`.

    Returns:
        `items`: [frames, sha256] of each; or `error`: what the operating system said when a file could not be written.
    """
    world = from_fields(job["fields"])
    base = Path(job["out"]) / folder(job["part"])
    unfinished = Path(job["out"]) / UNFINISHED / job["part"] / f"{os.getpid()}.tmp"
    made = []
    try:
        for item in items(world, job["part"])[job["start"] : job["stop"]]:
            produced = produce(world, item)
            for relative, content in produced.files.items():
                path = base / relative
                path.parent.mkdir(parents=True, exist_ok=True)
                # Renamed into place: a worker that outlives a killed run must not truncate what the next run made.
                unfinished.write_bytes(content)
                unfinished.replace(path)
            made.append([produced.frames, produced.sha256])
    except OSError as error:
        return {"error": f"{error.strerror or error}"}
    return {"items": made}
