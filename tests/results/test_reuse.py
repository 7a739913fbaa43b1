"""A number that is taken from disk equals one that is measured anew, whatever happened to the data in between."""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support.fragile_reading import out_of_descriptors
from tests.support.plain_videos import write_plain_video
from tvts_bench import snapshot, table_runs
from tvts_bench.datasets.base import Dataset
from tvts_bench.datasets.loading import load_dataset
from tvts_bench.runtime import Runtime
from tvts_bench.table_runs import MeasurementRequest, fill_table
from tvts_bench.tables.base import RETRIEVAL, Column, Protocol, Table, TableRow
from tvts_bench.tables.model import CellResults
from tvts_bench.training.recipe import Recipe, without_augmentation

COLOURS = {0: (200, 20, 20), 1: (20, 20, 200)}
PER_CLASS = 3  # videos, in each of two splits
PROBE = Protocol(
    name="k-NN",
    command="probe",
    evaluator="cached_probe",
    settings={"heads": ("knn",), "held_out": 0.0},
    condition="k-NN",
)
TUNED = Protocol(name="fine-tuning", command="finetune", evaluator="finetune", condition="fine-tuned")
R1 = Column(
    name="r1", heading="R@1", dataset="list", metric="R@1", protocols=(replace(RETRIEVAL, settings={"ks": (1,)}),)
)
KNN = Column(name="knn", heading="k-NN", dataset="list", metric="top-1", protocols=(PROBE,))
TOP1 = Column(name="top1", heading="top-1", dataset="list", metric="top-1", protocols=(TUNED,))
PIXELS, TINY = TableRow(name="pixels", backbone="pixels"), TableRow(name="tvts:tiny", backbone="tvts:tiny")
Numbers = dict[str, Any]


def table(*columns: Column) -> Table:
    return Table(
        name="table4",
        title="colours",
        labels={},
        columns=columns,
        rows=(PIXELS,),
        baselines=(PIXELS.name,),
        examples=(),
    )


@dataclass
class Data:
    """Videos of two colours and lists of them, all of equal size, and everything that a user may do to them."""

    root: Path
    lists: dict[str, list[tuple[str, int]]] = field(default_factory=dict)
    decoder: str = "pyav"
    dtype: str = "fp32"

    def write_lists(self) -> None:
        for split, rows in self.lists.items():
            (self.root / f"{split}.csv").write_text("".join(f"{name} {label}\n" for name, label in rows))

    @property
    def names(self) -> list[str]:
        return [name for rows in self.lists.values() for name, _ in rows]

    def loaded(self) -> Dataset:
        return load_dataset("list", self.root)

    def path(self, number: int) -> Path:
        return self.root / self.names[number % len(self.names)]

    def replace_content(self, number: int, other: int) -> None:
        """The bytes of another video; size and mtime stay."""
        path, source = self.path(number), self.path(other)
        if path.exists() and source.exists():
            before = path.stat()
            path.write_bytes(source.read_bytes())
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    def swap(self, number: int, other: int) -> None:
        """Both files under each other's name, by renaming alone."""
        first, second = self.path(number), self.path(other)
        if first != second and first.exists() and second.exists():
            first.rename(self.root / "between")
            second.rename(first)
            (self.root / "between").rename(second)

    def delete(self, number: int, _: int) -> None:
        self.path(number).unlink(missing_ok=True)

    def damage(self, number: int, _: int) -> None:
        self.path(number).write_bytes(b"no video")

    def touch(self, number: int, stamp: int) -> None:
        """Bytes that no player looks at are others now: the file has to be read again, and looks the same."""
        path = self.path(number)
        if path.exists():
            path.write_bytes(path.read_bytes()[:-1] + bytes([stamp]))

    def relabel(self, number: int, _: int) -> None:
        rows = self.lists[("train", "test")[number % 2]]
        name, label = rows[number % len(rows)]
        rows[number % len(rows)] = (name, 1 - label)

    def reorder(self, number: int, _: int) -> None:
        rows = self.lists[("train", "test")[number % 2]]
        rows.insert(0, rows.pop())

    def other_decoder(self, *_: int) -> None:
        self.decoder = {"pyav": "decord", "decord": "pyav"}[self.decoder]

    def other_precision(self, *_: int) -> None:
        self.dtype = {"fp32": "bf16", "bf16": "fp32"}[self.dtype]


DOINGS = (
    "replace_content",
    "swap",
    "touch",
    "delete",
    "damage",
    "relabel",
    "reorder",
    "other_decoder",
    "other_precision",
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos of equal size, so that a replaced one shows by its content alone."""
    root = tmp_path_factory.mktemp("template")
    for split in ("train", "test"):
        for label, colour in COLOURS.items():
            for shade in range(PER_CLASS):
                shaded = [value + 12 * shade + 5 * (split == "train") for value in colour]
                path = write_plain_video(root / split / f"{label}{shade}.mp4", shaded)
                filling = 4000 - path.stat().st_size - 8  # a box that players pass over
                path.write_bytes(path.read_bytes() + (filling + 8).to_bytes(4, "big") + b"free" + bytes(filling))
    return root


def copy_of(template: Path, root: Path) -> Data:
    shutil.copytree(template, root)
    lists = {
        split: [(f"{split}/{label}{shade}.mp4", label) for shade in range(PER_CLASS) for label in COLOURS]
        for split in ("train", "test")
    }
    data = Data(root=root, lists=lists)
    data.write_lists()
    return data


def filled(
    data: Data,
    out: Path,
    columns: Sequence[Column] = (R1, KNN),
    row: TableRow = PIXELS,
    fresh: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> dict[tuple[str, str], CellResults]:
    asked = MeasurementRequest(
        table=table(*columns),
        rows=(row,),
        datasets={"list": data.loaded()},
        decoder=data.decoder,
        dtype=data.dtype,
        fresh=fresh,
    )
    return fill_table(asked, out, Runtime(workers=0, cache=out / "cache"), say)


def numbers(found: dict[tuple[str, str], CellResults]) -> Numbers:
    """What is shown of each cell: its metrics, and which clips they speak of."""
    shown: Numbers = {}
    for (_, column), cell in found.items():
        shown[column] = cell.status
        for _, stored in cell.stored:
            coverage = [(item.split, item.listed, item.used, dict(item.failed)) for item in stored.result.coverage]
            shown[column] = (stored.result.metrics, coverage)
    return shown


def made_by_another_version(out: Path) -> None:
    """The results in `out`, with a number that shows where one is taken from them."""
    for path in (out / "runs").glob("*.json"):
        document = json.loads(path.read_text())
        document["provenance"]["versions"]["tvts-bench"] = "0.0.1"
        document["metrics"][0]["value"] = 12.345
        path.write_text(json.dumps(document))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """A new folder at each call: hypothesis runs one test many times."""
    base, numbered = tmp_path_factory.mktemp("examples"), count()
    return lambda: base / str(next(numbered))


EVENTS = (*DOINGS, "another_version", "for_a_moment")
events = st.tuples(st.sampled_from(EVENTS), st.integers(0, 11), st.integers(0, 11))


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(history=[(name, 0, 1) for name in reversed(EVENTS)])
@given(history=st.lists(events, min_size=1, max_size=4))
def test_a_reused_number_equals_a_fresh_one(
    template: Path, folders: Callable[[], Path], history: list[tuple[str, int, int]]
) -> None:
    """After any history of the data: replaced, swapped, deleted, damaged, relabelled, reordered, read otherwise, ..."""
    folder = folders()
    data, out = copy_of(template, folder / "data"), folder / "out"
    filled(data, out)
    for what, number, other in history:
        if what == "another_version":
            made_by_another_version(out)
        elif what == "for_a_moment":
            data.touch(number, other + 1)
            with out_of_descriptors({data.path(number)}):
                filled(data, out)
        else:
            getattr(data, what)(number, other)
            data.write_lists()
        assert numbers(filled(data, out)) == numbers(filled(data, folders())), history
    shutil.rmtree(folder)


def test_what_did_not_change_is_not_measured_again(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor where the videos are a copy on another disk: other signatures, the same contents, which results know."""
    data, out = copy_of(template, tmp_path / "data"), tmp_path / "out"
    first = numbers(filled(data, out))
    copy = copy_of(tmp_path / "data", tmp_path / "copy")
    monkeypatch.setattr(table_runs, "evaluate", None)
    with monkeypatch.context() as patch:
        patch.setattr(snapshot, "content_sha256", None)  # a `stat` a file is all
        assert numbers(filled(data, out)) == first
    assert numbers(filled(copy, out)) == first


def test_it_is_said_what_is_measured_again_and_why(template: Path, tmp_path: Path) -> None:
    data, out, said = copy_of(template, tmp_path / "data"), tmp_path / "out", list[str]()
    filled(data, out, say=said.append)
    data.replace_content(0, 3)  # both of train, which only the probe reads
    said.clear()
    filled(data, out, say=said.append)
    again, measuring = said
    assert again.startswith("measured again for pixels: list-test-vs-train-pixels-mean8x8-")
    assert again.endswith(".json was measured on other files: videos of train changed since")
    assert measuring == "measuring 1 of 1: pixels, k-NN on list"
    assert len(list((out / "runs").glob("list-test-vs-train-*.1.json"))) == 1, "the earlier result is kept aside"


def test_results_that_do_not_say_of_which_files_are_named_and_measured_again(template: Path, tmp_path: Path) -> None:
    data, out, said = copy_of(template, tmp_path / "data"), tmp_path / "out", list[str]()
    filled(data, out, columns=[R1])
    (path,) = (out / "runs").glob("*.json")
    document = json.loads(path.read_text())
    for item in document["coverage"]:
        del item["files"], item["transient"]
    path.write_text(json.dumps({**document, "schema": 1}))
    filled(data, out, columns=[R1], say=said.append)
    assert said[0] == f"measured again for pixels: {path.name} was made before results recorded their files"


def test_clips_that_fail_for_a_moment_do_not_leave_the_table_without_them(template: Path, tmp_path: Path) -> None:
    data, out, said = copy_of(template, tmp_path / "data"), tmp_path / "out", list[str]()
    broken = {data.root / name for name, _ in data.lists["test"][:2]}
    with out_of_descriptors(broken):
        _, coverage = numbers(filled(data, out, columns=[R1]))["r1"]
        assert [(split, used) for split, _, used, _ in coverage] == [("test", 4)]
    healed = numbers(filled(data, out, columns=[R1], say=said.append))
    assert said[0].endswith("lacks 2 clips of test that failed for the moment")
    assert healed == numbers(filled(data, tmp_path / "fresh", columns=[R1]))
    assert [used for _, _, used, _ in healed["r1"][1]] == [6]


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps of fine-tuning, whose last epoch is tested."""
    short = without_augmentation(
        Recipe(epochs=1, warmup_epochs=0, batch_size=3, base_lr=0.64, views="1x1", best="last", precision="fp32")
    )
    monkeypatch.setattr(table_runs, "preset", lambda task, name: short)


def logits(out: Path) -> bytes:
    """What a fine-tuned classifier says of every test clip."""
    (path,) = (path for path in (out / "runs").glob("*.logits.parquet") if path.name.count(".") == 2)
    return path.read_bytes()


@pytest.mark.usefixtures("recipe")
def test_fresh_fine_tunes_anew(template: Path, tmp_path: Path) -> None:
    """Also where the training that is there is one of these very videos; each call with `fresh` begins at step 0."""
    data, out = copy_of(template, tmp_path / "data"), tmp_path / "out"
    filled(data, out, columns=[TOP1], row=TINY)
    (state,) = (out / "runs").glob("*/last.pt")
    first = state.stat().st_mtime_ns
    filled(data, out, columns=[TOP1], row=TINY)
    assert state.stat().st_mtime_ns == first
    filled(data, out, columns=[TOP1], row=TINY, fresh=True)
    assert state.stat().st_mtime_ns > first


@pytest.mark.usefixtures("recipe")
def test_a_training_that_lacked_a_clip_for_a_moment_is_trained_again_once_it_can_be_read(
    template: Path, tmp_path: Path
) -> None:
    """While it still cannot be read, the training stays: a file that always exceeds its time limit costs no epochs."""
    data, out = copy_of(template, tmp_path / "data"), tmp_path / "out"
    with out_of_descriptors({data.root / data.lists["train"][0][0]}):
        _, coverage = numbers(filled(data, out, columns=[TOP1], row=TINY))["top1"]
        assert [(split, used) for split, _, used, _ in coverage] == [("test", 6), ("train", 5)]
        (state,) = (out / "runs").glob("*/last.pt")
        first = state.stat().st_mtime_ns
        filled(data, out, columns=[TOP1], row=TINY)
        assert state.stat().st_mtime_ns == first
    lacking = logits(out)
    healed = numbers(filled(data, out, columns=[TOP1], row=TINY))
    assert state.stat().st_mtime_ns > first
    assert logits(out) != lacking
    assert healed == numbers(filled(data, tmp_path / "fresh", columns=[TOP1], row=TINY))
    assert logits(out) == logits(tmp_path / "fresh")


@pytest.mark.usefixtures("recipe")
def test_a_test_clip_that_failed_for_a_moment_is_tested_again(template: Path, tmp_path: Path) -> None:
    data, out = copy_of(template, tmp_path / "data"), tmp_path / "out"
    with out_of_descriptors({data.root / data.lists["test"][0][0]}):
        filled(data, out, columns=[TOP1], row=TINY)
    healed = numbers(filled(data, out, columns=[TOP1], row=TINY))
    assert [used for _, _, used, _ in healed["top1"][1]] == [6, 6]
