"""`tvts-bench make-data`: write the built-in synthetic set (ScriptedMotion) anywhere."""

import re
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tvts_bench.cli.options import of_machine
from tvts_bench.errors import UserError

if TYPE_CHECKING:
    from tvts_bench.datasets.scripted_motion import World

WORLDS = ("scripted-motion",)
_SIZES = ("ssv2_train", "ssv2_val", "k400_train", "k400_val", "ucf_groups", "hmdb_clips")
_LEAST = 4  # groups and clips a class that three test splits need


def make_data(
    world: Annotated[str, typer.Argument(help="What to make: scripted-motion.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write. A world that is there is completed.")],
    part: Annotated[
        list[str] | None,
        typer.Option(
            "--part",
            help="ssv2, k400, ucf101, hmdb51, narrated, or one part of them (ssv2-val); repeatable."
            " By default the four labelled ones, and narrated with --narrated.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Everything is drawn from it; 0 if not given.")
    ] = None,
    size: Annotated[
        float | None,
        typer.Option(
            "--size", min=0.0, max=10_000.0, help="Clips in each labelled part, as a multiple of the usual number."
        ),
    ] = None,
    narrated: Annotated[
        int | None,
        typer.Option("--narrated", min=1, help="Narrated videos for training; a tenth as many for validation."),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any field of the world, NAME=VALUE; repeatable.", show_default=False),
    ] = None,
    workers: Annotated[
        int | None,
        of_machine(
            "--workers",
            min=0,
            help="Processes that render and encode; one per core by default. The frames do not depend on it.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write a small world of real video files in the layouts of the official data sets."""
    from tvts_bench.cli.console import stderr, stdout
    from tvts_bench.cli.progress import progress_bar
    from tvts_bench.datasets.scripted_motion import make_world, read_manifest

    if world.replace("_", "-") not in WORLDS:
        raise UserError(f"cannot make {world!r}; there is: {', '.join(WORLDS)}")
    existing = read_manifest(out)
    is_bare = all(option is None for option in (seed, size, narrated, setting))
    config = existing.world if existing and is_bare else _world(seed or 0, size, narrated, setting or [])
    manifest = make_world(out, config, _parts(part, narrated is not None), workers, progress_bar)
    for name, made in manifest.parts.items():
        line = f"{name:<15} {made.items:>6,} files {made.frames:>9,} frames  sha256 {made.frames_sha256[:16]}"
        stdout.print(line)
    stderr.print(f"in {out}; read it with --dataset scripted_motion:ssv2 --root {out}", style="dim")


def _world(seed: int, size: float | None, narrated: int | None, settings: list[str]) -> "World":
    """The configuration that the options describe."""
    from tvts_bench.datasets.scripted_motion import World

    world = World(seed=seed)
    factor = 1.0 if size is None else size
    scaled = {name: max(round(getattr(world, name) * factor), _LEAST) for name in _SIZES}
    if narrated is not None:
        scaled |= {"narrated_train": narrated, "narrated_val": max(narrated // 10, 1)}
    known = {field.name for field in fields(World)}
    for text in settings:
        name, equals, value = text.partition("=")
        if not equals or name not in known:
            raise UserError(f"--set {text!r}: expected NAME=VALUE with NAME one of {', '.join(sorted(known))}")
        if re.fullmatch(r"[-+]?[0-9]{1,18}", value) is None:  # int() takes 1_000, too, and other scripts' digits
            raise UserError(f"--set {text!r}: {value!r} is not a whole number")
        scaled[name] = int(value)
    return replace(world, **scaled)


def _parts(chosen: list[str] | None, narrated: bool) -> list[str]:
    """Parts by their own name or by that of their data set."""
    from tvts_bench.datasets.scripted_motion import LABELLED, PARTS

    if not chosen:
        return list(PARTS if narrated else LABELLED)
    parts: list[str] = []
    for name in chosen:
        matches = [part for part in PARTS if part == name or part.rpartition("-")[0] == name]
        if not matches:
            sets = dict.fromkeys(part.partition("-")[0] for part in PARTS)
            raise UserError(f"--part {name!r}: expected one of {', '.join((*sets, *PARTS))}")
        parts += matches
    return list(dict.fromkeys(parts))
