"""Write a world to disk, part by part: each complete or absent, resumed where it stopped, one writer at a time."""

import hashlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path

from filelock import FileLock, Timeout

import tvts_bench
from tvts_bench.atomic import whole_file
from tvts_bench.datasets.base import DatasetError
from tvts_bench.datasets.scripted_motion.clips import ScriptedClip
from tvts_bench.datasets.scripted_motion.narration import NarratedVideo
from tvts_bench.datasets.scripted_motion.parts import (
    LABELLED,
    PARTS,
    class_names,
    folder,
    frame_digest,
    items,
    lists,
    produce,
)
from tvts_bench.datasets.scripted_motion.world import DEFAULT, MANIFEST, Manifest, PartMade, World, read_manifest
from tvts_bench.runtime import Progress, default_workers, require_workers, silent

UNFINISHED = ".making"
"""Folder, under the world's, for what parts that are not complete need; removed at the end."""

_SHARE = "import sys; from tvts_bench.datasets.scripted_motion.make import make_share; make_share(*sys.argv[1:])"
"""A worker process. Plain children instead of a pool of `multiprocessing`: they do not import the caller's main script
again, which would wait for ever on the lock that the caller holds where that script is not guarded."""

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
        workers: processes; by default one per core. Frames do not depend on it.
        progress: shows each part as it is made.

    Raises:
        DatasetError: no such part, `out` holds something else, or it cannot be written to.
    """
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        raise DatasetError(f"ScriptedMotion has no part {unknown[0]!r}; it has: {', '.join(PARTS)}")
    require_workers(workers or 0)
    manifest = read_manifest(out)
    if manifest and manifest.world == world and not manifest.missing(parts):
        return manifest
    try:
        out.mkdir(parents=True, exist_ok=True)
        with _locked(out):
            manifest = _opened(out, world)
            missing = manifest.missing(parts)
            most = max((len(_spans(world, part)) for part in missing), default=0)
            count = min(default_workers() if workers is None else workers, most)
            with closing(_share(out, world, missing) if count < 2 else _made_by_workers(out, missing, count)) as made:
                for part in missing:
                    finished = _finish_part(out, world, part, made, progress)
                    manifest = replace(manifest, parts={**manifest.parts, part: finished})
                    manifest.write(out)
            shutil.rmtree(out / UNFINISHED, ignore_errors=True)
            return manifest
    except OSError as error:
        raise DatasetError(
            f"cannot write the ScriptedMotion world to {out}: {error.strerror or error}; name another folder "
            "(--out of make-data, else --cache or TVTS_BENCH_CACHE) with room and write permission"
        ) from error


def make_share(out: str, number: str, count: str, *parts: str) -> None:
    """The main program of worker `number` of `count`, which says what it has made on standard output.

    A line is a part and where a span of it starts, or "error:" and what the operating system said of a file.

    Args:
        out: the world's folder, with its manifest.
        number: from 0.
        count: of workers.
        parts: of the world.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the caller decides what stops
    manifest = read_manifest(Path(out))
    assert manifest is not None
    with suppress(BrokenPipeError):  # the caller is gone
        try:
            for part, start in _share(Path(out), manifest.world, parts, int(number), int(count)):
                os.write(sys.stdout.fileno(), f"{part} {start}\n".encode())  # short, and so whole among those of others
        except OSError as error:
            os.write(sys.stdout.fileno(), f"error: {error.strerror or error}\n".encode())


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    lock = FileLock(out / ".lock")
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
            raise DatasetError(f"{out} is not empty ({others[0]}) and holds no ScriptedMotion world; name a new folder")
        _write(out / "README.txt", README.format(manifest=MANIFEST).replace("\n", " ").rstrip() + "\n")
        manifest = Manifest(world=world, parts={})
        manifest.write(out)
    if manifest.world != world:
        ours, theirs = asdict(world), asdict(manifest.world)
        name = next(name for name in ours if ours[name] != theirs[name])
        raise DatasetError(
            f"{out} holds a world with {name}={theirs[name]}, not {ours[name]}; name another folder for this one"
        )
    return manifest


def _finish_part(out: Path, world: World, part: str, made: Iterator[tuple[str, int]], progress: Progress) -> PartMade:
    """Wait until all spans of `part` are `made`, then write its lists."""
    spans = _spans(world, part)
    todo = {start for start in spans if not _record(out, part, start).exists()}
    total, left = (sum(len(spans[start]) for start in some) for some in (spans, todo))
    unit = "videos" if part.startswith("narrated") else "clips"
    with progress(total, unit, f"making {part} of ScriptedMotion (once)") as advance:
        advance(total - left)
        while todo:
            key, start = next(made)  # of a part that comes later, too: then its record is there when that is due
            if key == part and start in todo:
                todo.remove(start)
                advance(len(spans[start]))
    items = [item for start in spans for item in json.loads(_record(out, part, start).read_text())]
    for relative, text in lists(world, part).items():
        path = out / folder(part) / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, text)
    return PartMade(
        items=total,
        frames=sum(frames for frames, _ in items),
        frames_sha256=hashlib.sha256("".join(digest for _, digest in items).encode()).hexdigest(),
        classes=class_names(part),
    )


def _share(
    out: Path, world: World, parts: Sequence[str], number: int = 0, count: int = 1
) -> Generator[tuple[str, int], None, None]:
    """Make every `count`-th span, where nobody has yet, and yield part and start of each."""
    for part in parts:
        spans = _spans(world, part)
        for start in list(spans)[number::count]:
            if not _record(out, part, start).exists():
                _make_span(out, world, part, start, spans[start])
            yield part, start


def _spans(world: World, part: str) -> dict[int, Sequence[ScriptedClip | NarratedVideo]]:
    """What is made in one go, by the number of the first: clips take milliseconds, narrated videos seconds."""
    whole, size = items(world, part), 2 if part.startswith("narrated") else 40
    return {start: whole[start : start + size] for start in range(0, len(whole), size)}


def _record(out: Path, part: str, start: int) -> Path:
    """Frames and sha256 of each item of a span, as JSON; it is there once all of them are."""
    return out / UNFINISHED / part / f"{start}.json"


def _made_by_workers(out: Path, parts: Sequence[str], workers: int) -> Generator[tuple[str, int], None, None]:
    """As `_share`, by worker processes, which end with the generator.

    Raises:
        OSError: a file cannot be written, or a process cannot be started or has died.
    """
    # -P: a file in the working folder never stands in for a library. The package may be a checkout, not installed.
    package = str(Path(tvts_bench.__file__).parent.parent)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))}
    processes: list[subprocess.Popen[bytes]] = []
    read, write = os.pipe()
    try:
        with open(read) as lines:  # noqa: PTH123  # no path
            try:
                for number in range(workers):
                    command = [sys.executable, "-P", "-c", _SHARE, str(out), str(number), str(workers), *parts]
                    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=write, env=environment)
                    processes.append(process)
            finally:
                os.close(write)  # so that the lines end with the last worker
            for line in lines:
                what, _, detail = line.rstrip().partition(" ")
                if what == "error:":
                    raise OSError(detail)
                yield what, int(detail)
        codes = [process.wait() for process in processes]
        raise OSError(f"a worker process ended (exit code {max(codes, key=abs)}); its message is above, if it left one")
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _make_span(out: Path, world: World, part: str, start: int, whole: Sequence[ScriptedClip | NarratedVideo]) -> None:
    """Write the files of some items, and then their record."""
    base, unfinished = out / folder(part), _record(out, part, start).with_suffix(f".{os.getpid()}.tmp")
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    made = []
    for item in whole:
        frames, files = produce(world, item)
        for relative, content in files.items():
            path = base / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            # Renamed into place: a worker that outlives a killed run must not truncate what the next run made.
            unfinished.write_bytes(content)
            unfinished.replace(path)
        made.append([len(frames), frame_digest(item.path, frames)])
    _write(_record(out, part, start), json.dumps(made))


def _write(path: Path, text: str) -> None:
    with whole_file(path) as file:
        file.write(text.encode())
