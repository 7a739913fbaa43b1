"""The command line: one line per command. Commands import what they need when they run, so `--help` is instant."""

import inspect
import os
from collections.abc import Callable

import typer

from tvts_bench.cli import ablate, backbones, classify, datasets, make_data, report, retrieval, tables, videos
from tvts_bench.cli.errors import guarded
from tvts_bench.cli.options import spread
from tvts_bench.version import VERSION

app = typer.Typer(
    name="tvts-bench",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Measure video backbones honestly: every number carries the checkpoint, the data, the frames and the clips"
    " that made it.\n\n"
    "Start with [bold]tvts-bench demo[/]: it runs on a small built-in synthetic set, without downloads.",
)

MEASURE, PAPER, BACKBONES, DATA = "Measure", "The paper", "Backbones", "Data"
COMMANDS: tuple[tuple[str, Callable[..., None], str], ...] = (
    ("demo", retrieval.demo, MEASURE),
    ("retrieval", retrieval.retrieval, MEASURE),
    ("probe", classify.probe, MEASURE),
    ("finetune", classify.finetune, MEASURE),
    ("embed", videos.embed, MEASURE),
    ("search", videos.search, MEASURE),
    *((name, command, PAPER) for name, command in tables.commands()),
    ("ablate", ablate.ablate, PAPER),
    ("status", ablate.status, PAPER),
    ("report", report.report, PAPER),
    ("backbones", backbones.backbones, BACKBONES),
    ("inspect", backbones.inspect, BACKBONES),
    ("datasets", datasets.datasets, DATA),
    ("check", datasets.check, DATA),
    ("make-data", make_data.make_data, DATA),
)


def register(app: typer.Typer, name: str, command: Callable[..., None], panel: str | None = None) -> None:
    """Add a command whose help is its docstring, each paragraph set as one."""
    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    text = "\n\n".join(paragraph.replace("\n", " ") for paragraph in paragraphs)
    app.command(name, rich_help_panel=panel, help=text)(guarded(spread(command)))


for _name, _command, _panel in COMMANDS:
    register(app, _name, _command, _panel)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tvts-bench {VERSION}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", help="Show the version and exit.", callback=_show_version, is_eager=True
    ),
) -> None:
    pass


def main() -> None:
    """Entry point of the `tvts-bench` script."""
    # Read when torch is loaded. Threads that wait for each other sleep, so that decoders have their cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    app()
