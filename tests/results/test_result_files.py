"""Tables that people open: CSV beside Parquet, and confusion matrices as pictures."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.support.results import make_result
from tvts_bench.results.confusion_plot import FULL, PAPER, confusion_plot, confusion_plots
from tvts_bench.results.files import table_as_csv, write_files

CONFUSION = {
    "condition": ["linear", "linear", "linear", "k-NN k=20"],
    "label": [0, 0, 3, 3],
    "class": ["left", "left", "right", "right"],
    "predicted": [0, 3, 3, 3],
    "predicted_class": ["left", "right", "right", "right"],
    "clips": [3, 1, 5, 6],
}
PER_CLASS = {"condition": ["linear"], "class": ["caf\udce9"], "clips": [2], "accuracy": [100 / 3]}


def pixels(picture: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"))


def test_tables_that_people_open_are_csv_and_pictures_too(tmp_path: Path) -> None:
    tables: dict[str, Any] = {"per_class": PER_CLASS, "confusion": CONFUSION, "logits": {"id": ["a"]}}
    written = write_files(replace(make_result(), tables=tables), tmp_path)
    names = {path.name.removeprefix(f"{make_result().stem}.") for path in written.beside}
    assert {name for name in names if not name.endswith("parquet")} - {"csv", "md"} == {
        "per_class.csv",
        "confusion.csv",
        "confusion.linear.png",
        "confusion.k-NN-k-20.png",
    }
    assert {path.name for path in tmp_path.iterdir()} >= {path.name for path in written.beside}
    assert pd.read_csv(tmp_path / f"{make_result().stem}.confusion.csv").to_dict("list") == CONFUSION


def test_a_result_without_such_tables_has_no_such_files(tmp_path: Path) -> None:
    written = write_files(replace(make_result(), tables={"neighbors": {"rank": [1]}}), tmp_path)
    assert [path.suffix for path in written.beside] == [".csv", ".md", ".parquet"]
    assert len(list(tmp_path.iterdir())) == 4


def test_csv_keeps_numbers_whole_and_names_readable() -> None:
    frame = pd.read_csv(io.StringIO(table_as_csv(PER_CLASS)))
    assert frame["accuracy"][0] == 100 / 3
    assert frame["class"][0] == r"caf\udce9"


def test_a_cell_is_shaded_by_the_share_of_its_row() -> None:
    counts = np.array([[4, 0, 0], [1, 1, 0], [0, 0, 0]])
    picture = pixels(confusion_plot(counts, ["a", "b", "c"], "title"))
    full = np.argwhere((picture == FULL).all(axis=2))  # the first row's first cell
    (top, left), (bottom, right) = full.min(axis=0), full.max(axis=0)
    cell = bottom - top + 1
    assert right - left + 1 == cell
    assert len(full) == cell**2
    middle = np.array([top, left]) + cell // 2
    half = tuple(((np.array(PAPER) + FULL) / 2).round().astype(int))
    shades = [tuple(picture[tuple(middle + cell * np.array(step))].tolist()) for step in ((1, 0), (1, 1), (2, 2))]
    assert shades == [pytest.approx(half, abs=1)] * 2 + [PAPER]


@pytest.mark.parametrize("classes", [1, 2, 51, 101, 174, 400, 1000])
def test_pictures_of_any_number_of_classes_stay_of_one_size(classes: int) -> None:
    names = [f"class {index} \udcff 类" for index in range(classes)]
    picture = pixels(confusion_plot(np.eye(classes, dtype=np.int64), names, "title"))
    assert max(picture.shape[:2]) < 1300


def test_a_picture_shows_the_classes_of_its_condition() -> None:
    pictures = confusion_plots(CONFUSION, "data, backbone")
    assert list(pictures) == ["linear", "k-NN k=20"]
    assert pixels(pictures["linear"]).shape[0] > pixels(pictures["k-NN k=20"]).shape[0]
