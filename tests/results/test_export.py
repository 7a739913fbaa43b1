"""Results for other tools, read again as these tools read them."""

import csv
import io
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from typer.testing import CliRunner, Result

from tests.support.results import classification, retrieval
from tvts_bench import load_results
from tvts_bench.cli.main import app
from tvts_bench.results.export import as_tidy_csv, model_card
from tvts_bench.results.files import write_files

TRACKERS = os.environ.get("TVTS_BENCH_TRACKERS", "")  # folder with wandb and mlflow-skinny, apart from our environment
HITS = [[True], [False], [True], [True]]


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two models by two protocols, measured under a folder of this machine."""
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        for result in (retrieval(HITS, backbone=name), classification([True, False], backbone=name)):
            provenance = {**result.provenance, "root": "/home/someone/videos", "device": "cpu"}
            write_files(replace(result, provenance=provenance), tmp_path / "results")
    return tmp_path / "results"


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["export", *arguments])


def test_the_csv_has_a_row_per_result_condition_and_metric(results: Path) -> None:
    text = as_tidy_csv(load_results(results))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert sorted((row["model"], row["protocol"], row["metric"], float(row["value"])) for row in rows) == [
        ("tvts:a", "finetune", "top-1", 50.0),
        ("tvts:a", "zero_shot_retrieval", "R@1", 75.0),
        ("tvts:a", "zero_shot_retrieval", "R@5", 75.0),
        ("tvts:b", "finetune", "top-1", 50.0),
        ("tvts:b", "zero_shot_retrieval", "R@1", 75.0),
        ("tvts:b", "zero_shot_retrieval", "R@5", 75.0),
    ]
    assert "/home" not in text
    assert call("results").stdout == text
    frame = load_results(results).to_pandas()
    assert frame["value"].tolist() == [float(row["value"]) for row in rows]
    assert frame.columns.tolist() == list(rows[0])


def test_the_model_card_is_read_by_the_hubs_library(results: Path) -> None:
    assert call("results", "--to", "hf-model-card", "--model", "tvts:a", "--out", "card.md").exit_code == 0
    evaluations = ModelCard.load("card.md").data.eval_results
    assert evaluations is not None
    numbers = {(each.task_name, each.metric_type): each.metric_value for each in evaluations}
    assert numbers == {
        ("fine-tuning", "top-1"): 50.0,
        ("zero-shot retrieval", "R@1"): 75.0,
        ("zero-shot retrieval", "R@5"): 75.0,
    }
    recall = next(each for each in evaluations if each.metric_type == "R@1")
    assert recall.dataset_split == "val"
    assert recall.metric_args == {
        "condition": "forward",
        "low": 74.0,
        "high": 76.0,
        "chance": 4.0,
        "clips": "4 of 4",
        "run": retrieval(HITS).run.key,
        "tvts_bench": load_results(results).to_pandas()["version"][0],
    }
    assert "/home" not in Path("card.md").read_text()


def test_random_weights_are_marked_in_a_card() -> None:
    random = retrieval(HITS)
    backbone = {**random.run.backbone, "weights": "random init (seed 0)"}
    assert "- name: tvts:a RANDOM" in model_card(
        load_results(replace(random, run=replace(random.run, backbone=backbone)))
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--to", "excel"], "--to takes csv, hf-model-card, wandb, mlflow, got 'excel'"),
        (["--to", "hf-model-card"], "a model card is of one model, the results are of 2: tvts:a; tvts:b"),
        (["--model", "c"], "no model is called c: there are tvts:a; tvts:b"),
        (["--out", "kept.csv"], "kept.csv is there and holds something else: move it, or give another --out"),
        (["--to", "wandb"], "pip install 'tvts-bench[wandb]'"),
        (["--to", "mlflow"], "pip install 'tvts-bench[mlflow]'"),
    ],
)
def test_what_it_refuses_is_one_sentence(
    results: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setitem(sys.modules, "mlflow", None)
    monkeypatch.setitem(sys.modules, "mlflow.tracking", None)
    Path("kept.csv").write_text("mine")
    done = call("results", *arguments)
    assert done.exit_code == 2
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert Path("kept.csv").read_text() == "mine"


def python(code: str, *arguments: str) -> str:
    """The output of a program that finds the trackers' libraries behind our own packages, without a network."""
    start = f"import sys; sys.path.append({TRACKERS!r})\n"
    done = subprocess.run([sys.executable, "-c", start + code, *arguments], check=True, capture_output=True, text=True)
    return done.stdout


EXPORT = "from tvts_bench.cli.main import main; main()"
needs_trackers = pytest.mark.skipif(
    not TRACKERS, reason="pip install --target DIR wandb mlflow-skinny; TVTS_BENCH_TRACKERS=DIR"
)


@needs_trackers
def test_mlflow_reads_its_runs(results: Path) -> None:
    python(EXPORT, "export", "results", "--to", "mlflow", "--out", "tracked")
    read = """
import os; os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
from pathlib import Path
from mlflow.tracking import MlflowClient
client = MlflowClient(tracking_uri=Path("tracked/mlruns").resolve().as_uri())
experiment = client.get_experiment_by_name("tvts-bench")
for run in client.search_runs([experiment.experiment_id]):
    print(run.info.status, run.data.params["model"], run.data.metrics.get(sys.argv[1]))
"""
    lines = python(read, "scripted_motion-ssv2/zero_shot_retrieval/R-at-1/forward").splitlines()
    assert len(lines) == 4
    assert lines.count("FINISHED tvts:a 75.0") == 1


@needs_trackers
def test_wandb_writes_offline_runs(results: Path) -> None:
    """Its files have no public reader; what it is given stands in them as it is."""
    python(EXPORT, "export", "results", "--to", "wandb", "--out", "tracked", "--project", "videos")
    files = sorted(Path("tracked/wandb").glob("offline-run-*/*.wandb"))
    assert len(files) == 4
    contents = [file.read_bytes() for file in files]
    (retrieved,) = (each for each in contents if b"tvts:a, scripted_motion-ssv2, zero_shot_retrieval" in each)
    assert b"videos" in retrieved
    assert re.search(rb"scripted_motion-ssv2/zero_shot_retrieval/R@1/forward.{0,4}75\b", retrieved, flags=re.DOTALL)
    assert not any(b"/home/someone" in content for content in contents)
