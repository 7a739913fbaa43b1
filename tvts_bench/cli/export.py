"""`tvts-bench export`: stored results for other tools."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tvts_bench.cli.compare import Grid, Sources, say_passed_over
from tvts_bench.cli.console import say
from tvts_bench.cli.options import OUTPUT, PROTOCOL
from tvts_bench.config_fields import Option

if TYPE_CHECKING:
    from tvts_bench.results.collection import Results

TARGETS = ("csv", "hf-model-card", "wandb", "mlflow")
FILES = {"csv": "results.csv", "hf-model-card": "README.md"}

To = Annotated[
    str,
    Option(
        "csv: one tidy table. hf-model-card: the head of a model card with the Hub's model index. wandb, mlflow: runs"
        " written offline by these libraries, which are extras.",
        form="|".join(TARGETS),
    ),
    OUTPUT,
]
Model = Annotated[str | None, Option("Only the results of this model (its name, or a part of it)."), PROTOCOL]
Project = Annotated[str, Option("Project of W&B, experiment of MLflow."), OUTPUT]
Out = Annotated[
    Path | None,
    Option(
        "A file for csv and hf-model-card, standard output by default; a folder for wandb and mlflow, the current one"
        " by default. A file that is there is not overwritten."
    ),
    OUTPUT,
]


def export(
    sources: Sources,
    to: To = "csv",
    model: Model = None,
    grid: Grid = None,
    project: Project = "tvts-bench",
    out: Out = None,
) -> None:
    """Hand stored results on: as one CSV, as a model card of the Hugging Face Hub, to W&B or to MLflow.

    Nothing is sent anywhere. The CSV has one row per result, condition and metric, with interval, chance, coverage,
    cost and the key of the run. Paths of this machine are in none of them.

    tvts-bench export results > all.csv

    tvts-bench export results --to hf-model-card --model tvts:base --out README.md

    tvts-bench export results --to wandb && wandb sync wandb/offline-run-*

    tvts-bench export results --to mlflow --out runs
    """
    from dataclasses import replace

    from tvts_bench.errors import UserError
    from tvts_bench.results.collection import load_results

    if to not in TARGETS:
        raise UserError(f"--to takes {', '.join(TARGETS)}, got {to!r}")
    results = load_results(sources, grid)
    say_passed_over(results)
    if model:
        name = results.model(model)
        results = replace(results, named=tuple(each for each in results.named if each.model == name))
    if to in FILES:
        _write_text(results, to, out)
    else:
        _write_runs(results, to, out or Path(), project)


def _write_text(results: "Results", to: str, out: Path | None) -> None:
    from tvts_bench.errors import UserError
    from tvts_bench.results import write_atomically
    from tvts_bench.results.export import as_tidy_csv, model_card

    text = as_tidy_csv(results) if to == "csv" else model_card(results)
    if out is None:
        typer.echo(text, nl=False)
        return
    path = out / FILES[to] if out.is_dir() else out
    if path.exists() and path.read_bytes() != text.encode(errors="backslashreplace"):
        raise UserError(f"{path} is there and holds something else: move it, or give another --out")
    write_atomically(path, text)
    say(f"written: {path}")


def _write_runs(results: "Results", to: str, out: Path, project: str) -> None:
    from tvts_bench.results import require_writable
    from tvts_bench.results.export import write_mlflow, write_wandb

    require_writable(out)
    folders = (write_wandb if to == "wandb" else write_mlflow)(results, out, project)
    say(f"written: {len(folders)} run{'s' * (len(folders) != 1)} below {folders[0].parent}")
