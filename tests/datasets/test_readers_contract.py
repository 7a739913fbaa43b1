"""What every reader promises, on a small copy of its distribution."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tvts_bench import registry
from tvts_bench.datasets.base import Dataset, DatasetError, DatasetInfo
from tvts_bench.datasets.loading import dataset_info, load_dataset

FIXTURES = {
    "ssv2": "ssv2",
    "k400": "k400",
    "ucf101": "ucf101",
    "hmdb51": "hmdb51",
    "folder": "folder",
    "list": "listed",
}


def test_every_reader_has_a_copy_to_be_tried_on() -> None:
    assert set(FIXTURES) == set(registry.names("datasets")) - {"scripted_motion"}


@pytest.fixture(params=sorted(FIXTURES))
def copy(request: pytest.FixtureRequest) -> tuple[str, Path]:
    return request.param, request.getfixturevalue(FIXTURES[request.param])


@pytest.fixture
def dataset(copy: tuple[str, Path]) -> Dataset:
    return load_dataset(*copy)


def test_default_split_has_records_with_labels_in_range(dataset: Dataset) -> None:
    records = dataset.records(dataset.info.default_split)
    assert records
    assert all(0 <= record.label < len(dataset.class_names) for record in records)
    assert len({record.id for record in records}) == len(records)
    assert len(set(dataset.class_names)) == len(dataset.class_names)


def test_ids_and_fingerprint_do_not_depend_on_the_place(copy: tuple[str, Path], dataset: Dataset) -> None:
    name, root = copy
    split = dataset.info.default_split
    ids = [record.id for record in dataset.records(split) if not record.id.startswith("/")]
    assert not any(str(root) in clip for clip in ids)
    if name != "list":  # its ids are the paths as listed, and here one is absolute
        moved = root.rename(root.with_name("elsewhere"))
        assert load_dataset(name, moved).fingerprint(split) == dataset.fingerprint(split)


def test_paths_may_be_strings(copy: tuple[str, Path], dataset: Dataset) -> None:
    name, root = copy
    split = dataset.info.default_split
    assert load_dataset(name, str(root)).fingerprint(split) == dataset.fingerprint(split)


def test_info_says_what_a_user_must_know(copy: tuple[str, Path]) -> None:
    info = dataset_info(copy[0])
    assert isinstance(info, DatasetInfo)
    assert info.default_split in info.splits
    assert set(info.official_sizes) <= set(info.splits)
    assert all((info.title, info.url, info.license, info.layout))


def test_unknown_split_names_those_there(dataset: Dataset) -> None:
    with pytest.raises(DatasetError, match=f"no split 'dev'; it has: .*{dataset.info.default_split}"):
        dataset.records("dev")


@pytest.mark.parametrize("name", FIXTURES)
def test_empty_root_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=str(tmp_path)):
        load_dataset(name, tmp_path)


@pytest.mark.parametrize("name", FIXTURES)
def test_missing_root_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="gone does not exist"):
        load_dataset(name, tmp_path / "gone")


@pytest.mark.parametrize("name", ["ssv2", "k400", "folder", "list"])
def test_fold_without_meaning_is_refused_by_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=f"{name} has no use for --fold 2"):
        load_dataset(name, tmp_path, fold=2)


@pytest.mark.parametrize("name", ["ssv2", "k400", "ucf101", "hmdb51", "list"])
def test_annotations_that_do_not_exist_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"annotations .*nowhere do not exist"):
        load_dataset(name, tmp_path, annotations=tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["ssv2", "k400", "ucf101", "hmdb51", "list"])
def test_lists_without_any_video_say_where_they_looked(
    name: str, request: pytest.FixtureRequest, remove_videos: Callable[[Path], None]
) -> None:
    root = request.getfixturevalue(FIXTURES[name])
    remove_videos(root)
    dataset = load_dataset(name, root)
    with pytest.raises(DatasetError, match=rf"none of the \d+ videos listed in .*{root}"):
        dataset.records(dataset.info.default_split)


@pytest.fixture
def remove_videos() -> Callable[[Path], None]:
    def remove(root: Path) -> None:
        for path in [path for path in root.rglob("*") if path.suffix in (".mp4", ".mkv", ".webm", ".avi")]:
            path.unlink()

    return remove


def test_reading_a_data_set_imports_no_torch(ssv2: Path) -> None:
    code = (
        "import sys, pathlib; from tvts_bench.datasets.loading import load_dataset;"
        f"load_dataset('ssv2', pathlib.Path({str(ssv2)!r})).records('val');"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
