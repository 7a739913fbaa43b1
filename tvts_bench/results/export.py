"""Results for other tools: one tidy table of all, the model index of a card on the Hub, and runs of trackers.

Those of Weights & Biases and MLflow are written offline by their own libraries, which are extras.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from tvts_bench.printable import csv_text
from tvts_bench.results.collection import NamedResult, Results, is_random
from tvts_bench.results.comparability import PROTOCOLS, dataset_label
from tvts_bench.results.index import made_by
from tvts_bench.results.result import Result, ResultError

COLUMNS = (
    *("model", "seed", "family", "variant", "weights", "weights_sha256", "random_weights"),
    *("dataset", "split", "protocol", "condition", "metric"),
    *("value", "low", "high", "sd_of_seeds", "chance", "used", "listed", "complete"),
    *("parameters", "gmacs_per_clip", "clips_per_second", "device", "dtype", "decoder", "version", "created", "key"),
)
"""Percent; `seed` is that of pretraining, `sd_of_seeds` that of the protocol's own; blank: not known."""

VIDEO_TASK = "video-classification"  # of the Hub, nearest to all protocols
PROJECT = "tvts-bench"
NOT_IN_MLFLOW = re.compile(r"[^\w\-. /:]")  # its names have letters, digits and a few signs


def tidy_rows(results: Results) -> Iterator[tuple[object, ...]]:
    """One row per result, condition and metric, in the order of `COLUMNS`."""
    for named in results.named:
        shared = _shared_fields(named)
        for metric in named.result.metrics:
            fields = {
                **shared,
                "condition": metric.condition,
                "metric": metric.name,
                "value": metric.value,
                "low": metric.low,
                "high": metric.high,
                "sd_of_seeds": metric.spread,
                "chance": metric.chance,
            }
            yield tuple(fields.get(column) for column in COLUMNS)


def as_tidy_csv(results: Results) -> str:
    """All results as one CSV; numbers unrounded, no path of a machine."""
    return csv_text([COLUMNS, *tidy_rows(results)])


def _shared_fields(named: NamedResult) -> dict[str, object]:
    """What all metrics of a result have in common."""
    result, tested = named.result, named.result.coverage[0]
    backbone, provenance = result.run.backbone, result.provenance
    cost = provenance.get("cost") or {}
    return {
        "model": named.model,
        "seed": named.seed,
        "family": backbone["family"],
        "variant": backbone["variant"],
        "weights": backbone["weights"],
        "weights_sha256": backbone["sha256"],
        "random_weights": is_random(result),
        "dataset": dataset_label(result),
        "split": tested.split,
        "protocol": result.run.evaluator.get("name"),
        "used": tested.used,
        "listed": tested.listed,
        "complete": tested.complete,
        **{name: cost.get(name) for name in ("parameters", "gmacs_per_clip")},
        "clips_per_second": provenance.get("clips_per_second"),
        "device": provenance.get("device"),
        "dtype": result.run.evaluator.get("dtype"),
        "decoder": result.run.decoder,
        "version": made_by(result),
        "created": provenance.get("created"),
        "key": result.run.key,
    }


def model_card(results: Results) -> str:
    """The head of a model card (YAML between dashes) with the model index of the Hugging Face Hub.

    Args:
        results: of one model.

    Returns:
        Written by the Hub's own library, which reads it again; every metric with its interval and its run.

    Raises:
        ResultError: the results are of several models.
    """
    from huggingface_hub import EvalResult, ModelCardData

    if len(results.models) > 1:
        models = "; ".join(results.models)
        raise ResultError(f"a model card is of one model, the results are of {len(results.models)}: {models}")
    evaluations = [each for named in results.named for each in _evaluations(named, EvalResult)]
    data = ModelCardData(
        tags=["video", "tvts-bench"],
        library_name="tvts-bench",
        model_name=results.models[0],
        pipeline_tag=VIDEO_TASK,
        eval_results=evaluations,
    )
    return f"---\n{data.to_yaml()}\n---\n"


def _evaluations(named: NamedResult, kind: Any) -> Iterator[Any]:
    """One `EvalResult` of the Hub per metric."""
    result, tested = named.result, named.result.coverage[0]
    protocol = str(result.run.evaluator.get("name"))
    for metric in result.metrics:
        arguments = {
            "condition": metric.condition,
            "low": metric.low,
            "high": metric.high,
            "chance": metric.chance,
            "clips": f"{tested.used} of {tested.listed}",
            "run": result.run.key,
            "tvts_bench": made_by(result),
        }
        yield kind(
            task_type=VIDEO_TASK,
            task_name=PROTOCOLS.get(protocol, protocol),
            dataset_type=dataset_label(result),
            dataset_name=dataset_label(result),
            dataset_config=protocol,  # without it the Hub takes all protocols on a data set for one
            dataset_split=tested.split,
            metric_type=metric.name,
            metric_name=f"{metric.name}, {metric.condition}, percent",
            metric_value=metric.value,
            metric_args={name: value for name, value in arguments.items() if value is not None},
        )


def flat_metrics(result: Result) -> dict[str, float]:
    """`dataset/protocol/metric/condition` -> percent, with `_low`, `_high` and `_chance`: as trackers name numbers."""
    numbers: dict[str, float] = {}
    for metric in result.metrics:
        words: Sequence[object] = (
            dataset_label(result),
            result.run.evaluator.get("name"),
            metric.name,
            metric.condition,
        )
        name = "/".join(str(word) for word in words)
        bounds = {"": metric.value, "_low": metric.low, "_high": metric.high, "_chance": metric.chance}
        numbers |= {f"{name}{suffix}": value for suffix, value in bounds.items() if value is not None}
    return numbers


def settings_of(named: NamedResult) -> dict[str, str | int | float | bool]:
    """What was measured and how, one value per name; what is not known is left out, and so are paths."""
    result = named.result
    fields = {name: value for name, value in _shared_fields(named).items() if isinstance(value, str | int | float)}
    evaluator = {f"evaluator.{name}": value for name, value in _leaves(result.run.evaluator)}
    return {**fields, **evaluator}


def _leaves(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str | int | float | bool]]:
    for name, item in value.items():
        if isinstance(item, Mapping):
            yield from _leaves(item, f"{prefix}{name}.")
        elif item is not None:
            yield f"{prefix}{name}", item if isinstance(item, str | int | float) else str(item)


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
