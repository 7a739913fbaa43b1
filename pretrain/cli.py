"""`tvts-pretrain`: parses, calls, prints. Commands import what they need when they run, so `--help` is instant."""

import json
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TextIO

import typer

from tvts_bench.cli.console import say, stderr, stdout
from tvts_bench.cli.main import application, register
from tvts_bench.errors import UserError

DIVERGED = 3
"""Exit code of a run that ended because training failed: NaN, or embeddings that are all alike."""

app = application(
    "tvts-pretrain",
    "Train video backbones from narrated video, by aligning clips with transcripts and by putting transcripts in"
    " order.\n\n"
    "Start with [bold]tvts-pretrain run scripted_motion_tiny[/]: it needs no data and no GPU.\n\n"
    "Exit codes: 0 finished, 2 an error of yours in one sentence, 3 training diverged or collapsed, 129, 130 or"
    " 143 stopped by SIGHUP, Ctrl-C or SIGTERM with everything saved.",
)

Assignments = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings that differ, such as lr=1e-3 steps=500.")
]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks and log messages.")]


def run(
    preset: Annotated[str, typer.Argument(help="A preset (see `presets`) or the path of a YAML file like one.")],
    assignments: Assignments = None,
    debug: Debug = False,
) -> None:
    """Train from the start. Under torchrun every process takes its share of the batch.

    tvts-pretrain run scripted_motion_tiny steps=500 out=runs/mine

    torchrun --nproc-per-node 8 -m pretrain run yt_temporal root=/data/yt init.mae=mae_pretrain_vit_base.pth

    Where it runs: out=DIR device=auto workers=1 threads=N log_every=10 cache=DIR samples=DIR. All other keys are
    those of the preset, with dots: objective.lambda=1 objective.sort=none data.batch_size=32 seed=1.
    """
    from pretrain.config import compose
    from pretrain.runs import begin
    from tvts_bench.cli.console import progress_bar

    config, launch = compose(preset, assignments or [])
    assert launch.out is not None
    _train(launch.out, lambda: begin(config, launch, progress_bar))


def resume(
    folder: Annotated[Path, typer.Argument(help="Folder of a run that was stopped.")],
    assignments: Assignments = None,
    debug: Debug = False,
) -> None:
    """Resume a run where it was stopped, exactly: on a CPU the result is bit-identical.

    What may differ is where it runs (device, workers, number of processes), the batch size and the folders of data.
    Videos or transcripts that changed since it began are refused; changed_files=accept takes them, or a copy of the
    data, as they are, and writes that down in metrics.jsonl.
    """
    from pretrain.runs import resume as go_on
    from tvts_bench.cli.console import progress_bar

    _train(folder, lambda: go_on(folder, assignments or [], progress_bar))


def export(
    folder: Annotated[Path, typer.Argument(help="Folder of a run.")],
    format: Annotated[
        str,
        typer.Option("--format", help="safetensors: the encoder, for tvts-bench. official: all of TVTS, as its .pth."),
    ] = "safetensors",
    out: Annotated[Path | None, typer.Option("--out", help="File to write; in the run's folder by default.")] = None,
    best: Annotated[bool, typer.Option("--best", help="The best state by checkpoint.best, not the last.")] = False,
    debug: Debug = False,
) -> None:
    """Write the weights of a run as a file for others."""
    from pretrain.export import FORMATS
    from pretrain.runs import export_run

    chosen = next((known for known in FORMATS if known == format), None)
    if chosen is None:
        raise UserError(f"--format must be one of {', '.join(FORMATS)}, got {format!r}")
    stdout.print(str(export_run(folder, chosen, out, best)), soft_wrap=True)


def config(
    preset: Annotated[str, typer.Argument(help="A preset (see `presets`) or the path of a YAML file like one.")],
    assignments: Assignments = None,
    each: Annotated[
        typer.FileText | None,
        typer.Option("--each", help="JSON, a list of lists of KEY=VALUE: one configuration for each. `-` reads it."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, a list with one object per configuration.")] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say of every key what it means, and of those that say where a run runs.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Show the whole configuration that settings make of a preset, and train nothing.

    tvts-pretrain config scripted_motion_tiny objective.sort=none

    tvts-pretrain config scripted_motion_tiny --explain
    """
    from pretrain.config import compose, explained
    from pretrain.yaml_config import dump, plain

    composed = [compose(preset, [*(assignments or []), *more]) for more in _lists(each)]
    if explain:
        for run, launch in composed:
            for line in (*explained(run), *explained(launch)):
                stdout.print(line, soft_wrap=True)
        return
    plain_values = [plain(run) for run, _ in composed]
    typer.echo(json.dumps(plain_values) if as_json else "---\n".join(map(dump, plain_values)).strip())


def _lists(each: TextIO | None) -> list[list[str]]:
    """The lists of `--each`; one list of nothing without it."""
    if each is None:
        return [[]]
    try:
        lists = json.load(each)
    except ValueError as error:
        raise UserError(f"--each {each.name} is not JSON: {error}") from None
    if not isinstance(lists, list) or not all(isinstance(one, list) for one in lists):
        raise UserError(f"--each {each.name} must be a list of lists of KEY=VALUE")
    return [[str(item) for item in one] for one in lists]


def changed(
    folders: Annotated[list[Path], typer.Argument(help="Folders of runs.")],
    debug: Debug = False,
) -> None:
    """Show, as JSON, the samples of each run whose videos or transcripts changed since it began."""
    from pretrain.runs import differing_files

    typer.echo(json.dumps({str(folder): names for folder, names in differing_files(folders).items()}))


def presets(debug: Debug = False) -> None:
    """List the presets."""
    from pretrain.yaml_config import description, preset_names

    names = preset_names()
    width = max(map(len, names))
    for name in names:
        stdout.print(f"{name:<{width}}  {description(name)}", soft_wrap=True)


def start(
    seed: Annotated[int, typer.Option("--seed", min=0, help="Another seed is another start.")] = 0,
    out: Annotated[
        Path | None, typer.Option("--out", help="A copy of the file, to be given as init.checkpoint.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option("--cache", help="Where it is kept; the user's cache by default.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print where it lies, made or not.")] = False,
    debug: Debug = False,
) -> None:
    """Make the common start of runs on the built-in synthetic set, if it is not there, and print where it lies.

    It holds a video and a text encoder, trained in under a minute. init.start=SEED makes it on first use.
    """
    from pretrain.start import copy_start, make_start, start_file
    from tvts_bench.cli.console import progress_bar
    from tvts_bench.runtime import default_cache

    cache = cache or default_cache()
    if dry_run:
        stdout.print(str(start_file(cache, seed)), soft_wrap=True)
        return
    path = make_start(cache, seed, progress_bar)
    stdout.print(str(path if out is None else copy_start(path, out)), soft_wrap=True)


for _command in (run, resume, changed, export, config, presets, start):
    register(app, _command.__name__, _command)


def _train(folder: Path, train: Callable[[], Path]) -> None:
    """Run, and end with the code that says how it went."""
    from pretrain.run_folder import STATUS
    from pretrain.task import CollapsedError
    from tvts_bench.distributed import under_torchrun
    from tvts_bench.signals import StoppedError
    from tvts_bench.training.metric_logger import NonFiniteLossError

    is_first = not under_torchrun() or os.environ["RANK"] == "0"  # of several processes, one speaks
    if not is_first:
        logging.getLogger("pretrain").setLevel(logging.ERROR)
    try:
        written = train()
    except (NonFiniteLossError, CollapsedError) as error:
        stderr.print("training failed: ", end="", style="bold red")
        stderr.print(f"{error} (recorded in {folder / STATUS})", soft_wrap=True)
        raise typer.Exit(DIVERGED) from error
    except StoppedError as stop:
        if is_first:
            say(f"stopped by {signal.Signals(stop.signal).name}; resume with: tvts-pretrain resume {folder}")
        raise typer.Exit(128 + stop.signal) from None
    except KeyboardInterrupt as stop:  # before the first step, or the second Ctrl-C
        if is_first:
            say(f"stopped at once; resume from what was saved with: tvts-pretrain resume {folder}")
        raise typer.Exit(128 + getattr(stop, "signal", signal.SIGINT)) from None
    if is_first:
        say(f"written: {written}")
        say(f"measure it: tvts-bench retrieval --ckpt {written}")


def main() -> None:
    """Entry point of the `tvts-pretrain` script."""
    app()
