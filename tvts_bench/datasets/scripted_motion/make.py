"""Write a world to disk, part by part: each complete or absent, taken up where it stopped, one writer at a time."""

import dataclasses
import hashlib
import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from tvts_bench import provenance
from tvts_bench.atomic import whole_file
from tvts_bench.datasets.scripted_motion.jobs import UNFINISHED
from tvts_bench.datasets.scripted_motion.processes import Crew
from tvts_bench.datasets.scripted_motion.produce import LABELLED, PARTS, class_names, folder, items, lists
from tvts_bench.datasets.scripted_motion.world import GENERATOR_VERSION, World, WorldError, from_fields
from tvts_bench.regular_file import read_regular
from tvts_bench.runtime import Progress, default_workers, require_workers, silent

MANIFEST = "scripted_motion.json"
DEFAULT = World()

_LOCK = ".lock"
_ITEMS_A_JOB = {"narrated-train": 2, "narrated-val": 2}  # minutes of video; clips take milliseconds
_CLIPS_A_JOB = 40

README = """ScriptedMotion: a small world of real video files, made from one seed by
`tvts-bench make-data scripted-motion`. Handwritten digits (scikit-learn's load_digits, from the UCI Optical
Recognition of Handwritten Digits set) move left, right, up, down, turn clockwise and anticlockwise, grow and shrink on
coloured grounds that wrap around at the edges. ssv2/, k400/, ucf101/ and hmdb51/ have the layouts of the official
distributions, and yt_temporal/ holds narrated videos with word-timed transcripts in the layout of YT-Temporal-180M;
only the parts that {manifest} lists are complete. It also holds the configuration and, for every part, a sha256 over
all frames before encoding: equal configurations give equal frames on any machine, while the encoded files may differ
between versions of FFmpeg.
"""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PartMade:
    """What the manifest says of a complete part."""

    items: int  # clips, or narrated videos
    frames: int
    frames_sha256: str  # over the digests of all items in order, before encoding
    classes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The provenance file of a world."""

    world: World
    parts: dict[str, PartMade]

    def missing(self, parts: Sequence[str]) -> list[str]:
        """Which of `parts` are not complete."""
        return [part for part in parts if part not in self.parts]


def make_world(
    out: Path,
    world: World = DEFAULT,
    parts: Sequence[str] = LABELLED,
    workers: int | None = None,
    progress: Progress = silent,
) -> Manifest:
    """Make the parts of `world` that are not complete under `out`; each is complete or absent at any instant.

    Args:
        out: the world's folder, created if need be.
        world: what to make. A folder holds one world.
        parts: names from `PARTS`.
        workers: processes; by default one a core. Frames do not depend on it.
        progress: shows each part as it is made.

    Raises:
        WorldError: no such part, `out` holds something else, or it cannot be written to.
    """
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        raise WorldError(f"ScriptedMotion has no part {unknown[0]!r}; it has: {', '.join(PARTS)}")
    require_workers(workers or 0)
    found = read_manifest(out)
    if found and found.world == world and not found.missing(parts):
        return found
    try:
        out.mkdir(parents=True, exist_ok=True)
        with _locked(out), Crew(default_workers() if workers is None else workers) as crew:
            manifest = _opened(out, world)
            for part in manifest.missing(parts):
                made = _make_part(out, world, part, crew, progress)
                manifest = dataclasses.replace(manifest, parts={**manifest.parts, part: made})
                _write_manifest(out, manifest)
            shutil.rmtree(out / UNFINISHED, ignore_errors=True)
            return manifest
    except OSError as error:
        raise _unwritable(out, error.strerror or str(error)) from error


def read_manifest(out: Path) -> Manifest | None:
    """The manifest under `out`, or None if there is none.

    Raises:
        WorldError: it cannot be read, or another version of the generator wrote it.
    """
    path = out / MANIFEST
    try:
        content = json.loads(read_regular(path))
        if content["generator"] != GENERATOR_VERSION:
            raise WorldError(
                f"{path} was written by generator version {content['generator']}, this is version {GENERATOR_VERSION}; "
                "make the world anew in another folder"
            )
        parts = {
            name: PartMade(
                items=part["items"],
                frames=part["frames"],
                frames_sha256=part["frames_sha256"],
                classes=tuple(part["classes"]),
            )
            for name, part in content["parts"].items()
        }
        return Manifest(world=from_fields(content["world"]), parts=parts)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except WorldError:
        raise
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise WorldError(f"{path} is no manifest of a ScriptedMotion world ({error}); delete the folder") from error


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    lock = FileLock(out / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.warning("another process is making the world in %s; waiting for it", out)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _opened(out: Path, world: World) -> Manifest:
    """The manifest of `out`, written anew for an empty folder."""
    manifest = read_manifest(out)
    if manifest is None:
        others = sorted(path.name for path in out.iterdir() if not path.name.startswith("."))
        if others and others != ["README.txt"]:
            raise WorldError(f"{out} is not empty ({others[0]}) and holds no ScriptedMotion world; name a new folder")
        _write(out / "README.txt", README.format(manifest=MANIFEST).replace("\n", " ").rstrip() + "\n")
        manifest = Manifest(world=world, parts={})
        _write_manifest(out, manifest)
    if manifest.world != world:
        ours, theirs = dataclasses.asdict(world), dataclasses.asdict(manifest.world)
        name = next(name for name in ours if ours[name] != theirs[name])
        raise WorldError(
            f"{out} holds a world with {name}={theirs[name]}, not {ours[name]}; name another folder for this one"
        )
    return manifest


def _make_part(out: Path, world: World, part: str, crew: Crew, progress: Progress) -> PartMade:
    """Make the jobs of `part` that are not done, then write its lists."""
    total, size = len(items(world, part)), _ITEMS_A_JOB.get(part, _CLIPS_A_JOB)
    unfinished = out / UNFINISHED / part
    unfinished.mkdir(parents=True, exist_ok=True)
    spans = [(start, min(start + size, total)) for start in range(0, total, size)]
    todo = [span for span in spans if not (unfinished / f"{span[0]}.json").exists()]
    jobs: list[dict[str, Any]] = [
        {"fields": dataclasses.asdict(world), "out": str(out), "part": part, "start": start, "stop": stop}
        for start, stop in todo
    ]
    unit = "videos" if part.startswith("narrated") else "clips"
    with progress(total, unit, f"making {part} of ScriptedMotion (once)") as advance:
        advance(total - sum(stop - start for start, stop in todo))
        for index, answer in crew.run(jobs):
            if "error" in answer:
                raise _unwritable(out, answer["error"])
            start, stop = todo[index]
            _write(unfinished / f"{start}.json", json.dumps(answer["items"]))
            advance(stop - start)
    made = [item for start, _ in spans for item in json.loads((unfinished / f"{start}.json").read_text())]
    for relative, text in lists(world, part).items():
        path = out / folder(part) / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, text)
    return PartMade(
        items=total,
        frames=sum(frames for frames, _ in made),
        frames_sha256=hashlib.sha256("".join(digest for _, digest in made).encode()).hexdigest(),
        classes=class_names(part),
    )


def _write_manifest(out: Path, manifest: Manifest) -> None:
    content = {
        "generator": GENERATOR_VERSION,
        "digest": manifest.world.digest,
        "world": dataclasses.asdict(manifest.world),
        "parts": {name: dataclasses.asdict(part) for name, part in manifest.parts.items()},
        "versions": provenance.versions(),
    }
    _write(out / MANIFEST, json.dumps(content, indent=1) + "\n")


def _write(path: Path, text: str) -> None:
    with whole_file(path) as file:
        file.write(text.encode())


def _unwritable(out: Path, reason: str) -> WorldError:
    return WorldError(
        f"cannot write the ScriptedMotion world to {out}: {reason}; name another folder (--out), "
        "or set TVTS_BENCH_CACHE to one with room and write permission"
    )
