"""The command line: one line a command. Commands import what they need when they run, so `--help` is instant."""

import typer

from tvts_bench.cli import datasets, embed, make_data, retrieval, search
from tvts_bench.cli.errors import guarded
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
    "Start with [bold]tvts-bench retrieval[/]: it runs on a small embedded world, without downloads.",
)

MEASURE, DATA = "Measure", "Data"
app.command("retrieval", rich_help_panel=MEASURE)(guarded(retrieval.retrieval))
app.command("embed", rich_help_panel=MEASURE)(guarded(embed.embed))
app.command("search", rich_help_panel=MEASURE)(guarded(search.search))
app.command("datasets", rich_help_panel=DATA)(guarded(datasets.datasets))
app.command("check", rich_help_panel=DATA)(guarded(datasets.check))
app.command("make-data", rich_help_panel=DATA)(guarded(make_data.make_data))


def _show_version(asked: bool) -> None:
    if asked:
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
    app()
