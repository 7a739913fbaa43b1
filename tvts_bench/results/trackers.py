"""Results as runs of Weights & Biases and MLflow, written offline by their own libraries, which are extras."""

import os
import re
from importlib import import_module
from pathlib import Path
from typing import Any

from tvts_bench.results.collection import NamedResult, Results
from tvts_bench.results.export import as_tidy_csv, flat_metrics, settings_of
from tvts_bench.results.result import ResultError

PROJECT = "tvts-bench"
NOT_IN_MLFLOW = re.compile(r"[^\w\-. /:]")  # its names have letters, digits and a few signs


def write_wandb(results: Results, out: Path, project: str = PROJECT) -> list[Path]:
    """One offline run of W&B per result below OUT/wandb; `wandb sync` uploads them.

    Args:
        results: with the names of their models, which are the names of the runs.
        out: folder, made where it is missing.
        project: of the runs.

    Returns:
        Folders of the runs.

    Raises:
        ResultError: the library is not installed, or a run cannot be written.
    """
    wandb = _library("wandb", "Weights & Biases", "wandb")
    out.mkdir(parents=True, exist_ok=True)
    # What it would say of this machine is not what made the result.
    quiet = wandb.Settings(
        silent=True,
        console="off",
        x_disable_meta=True,
        x_disable_stats=True,
        x_disable_machine_info=True,
        x_save_requirements=False,
    )
    folders = []
    for named in results.named:
        run = wandb.init(
            project=project,
            name=_run_name(named),
            dir=str(out),
            id=_run_id(named),
            config=settings_of(named),
            mode="offline",
            reinit="finish_previous",
            settings=quiet,
        )
        run.log(flat_metrics(named.result))
        folders.append(Path(run.dir).parent)
        run.finish()
    return folders


def write_mlflow(results: Results, out: Path, project: str = PROJECT) -> list[Path]:
    """One run of MLflow per result below OUT/mlruns, with the tidy CSV of the result as an artifact.

    Args:
        results: with the names of their models, which are the names of the runs.
        out: folder, made where it is missing.
        project: the experiment; it is made where it is missing.

    Returns:
        Folders of the runs.

    Raises:
        ResultError: the library is not installed, or the store cannot be written.
    """
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # what the small library writes without a database
    tracking = _library("mlflow.tracking", "MLflow", "mlflow")
    store = (out / "mlruns").resolve()
    client = tracking.MlflowClient(tracking_uri=store.as_uri())
    experiment = client.get_experiment_by_name(project)
    number = experiment.experiment_id if experiment else client.create_experiment(project)
    folders = []
    for named in results.named:
        run = client.create_run(number, run_name=_run_name(named), tags={"tvts_bench_run": named.result.run.key})
        for name, value in settings_of(named).items():
            client.log_param(run.info.run_id, NOT_IN_MLFLOW.sub("_", name), value)
        for name, value in flat_metrics(named.result).items():
            client.log_metric(run.info.run_id, NOT_IN_MLFLOW.sub("_", name.replace("@", "-at-")), value)
        client.log_text(run.info.run_id, as_tidy_csv(Results(named=(named,))), "results.csv")
        client.set_terminated(run.info.run_id)
        folders.append(store / number / run.info.run_id)
    return folders


def _run_name(named: NamedResult) -> str:
    seed = "" if named.seed is None else f", seed {named.seed}"
    return f"{named.model}, {named.result.run.dataset['name']}, {named.result.run.evaluator.get('name')}{seed}"


def _run_id(named: NamedResult) -> str:
    return named.result.run.key[:16]


def _library(module: str, title: str, extra: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise ResultError(f"{title} is not installed ({error}): pip install 'tvts-bench[{extra}]'") from error
