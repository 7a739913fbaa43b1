"""`folder` and `list`: answers by hand, and every bad input as one sentence."""

from pathlib import Path

import pytest

from tvts_bench.datasets.base import AnnotationError, DatasetError
from tvts_bench.datasets.loading import load_dataset


def make(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


class TestFolder:
    def test_everything_named_like_a_video_is_a_record(self, folder: Path) -> None:
        dataset = load_dataset("folder", folder)
        assert dataset.splits == ("all",)
        assert dataset.class_names == ("run", "walk")
        assert [(record.id, record.label) for record in dataset.records("all")] == [
            ("run/c.webm", 0),
            ("run/d.mp4", 0),  # a folder: for the decoder to refuse
            ("walk/a.mp4", 1),
            ("walk/night/b.MKV", 1),
        ]

    def test_split_folders(self, tmp_path: Path) -> None:
        make(tmp_path, "train/walk/a.mp4", "train/run/b.mp4", "validation/walk/c.mp4")
        dataset = load_dataset("folder", tmp_path)
        assert dataset.splits == ("train", "val")
        assert dataset.info.default_split == "val"
        assert dataset.class_names == ("run", "walk")
        assert [(record.id, record.label) for record in dataset.records("val")] == [("walk/c.mp4", 1)]

    @pytest.mark.parametrize("other", ["bus/b.mp4", "test/b.mp4"])
    def test_a_class_may_be_called_train(self, tmp_path: Path, other: str) -> None:
        make(tmp_path, "train/a.mp4", other)
        assert load_dataset("folder", tmp_path).splits == ("all",)

    def test_link_to_the_own_parent_is_followed_once(self, folder: Path) -> None:
        (folder / "walk/loop").symlink_to(folder / "walk")
        assert len(load_dataset("folder", folder).records("all")) == 4

    def test_links_that_lead_in_a_circle_are_no_classes(self, folder: Path) -> None:
        for link in ("walk/circle", "circle", "walk/circle.mp4"):
            (folder / link).symlink_to(Path(link).name)
        records = load_dataset("folder", folder).records("all")
        assert [record.id for record in records if "circle" in record.id] == ["walk/circle.mp4"]  # listed as failed

    def test_video_without_a_class(self, folder: Path) -> None:
        make(folder, "stray.mp4")
        with pytest.raises(DatasetError, match=r"stray.mp4 lies beside the class folders"):
            load_dataset("folder", folder)

    def test_names_that_are_not_utf8(self, folder: Path) -> None:
        (folder / "walk" / b"caf\xe9.mp4".decode(errors="surrogateescape")).touch()
        assert len(load_dataset("folder", folder).fingerprint("all")) == 64


class TestList:
    def test_videomae_csv(self, listed: Path) -> None:
        dataset = load_dataset("list", listed)
        assert (dataset.splits, dataset.info.default_split) == (("train", "val"), "val")
        assert dataset.class_names == ("0", "1", "2")
        records = dataset.records("val")
        assert [record.label for record in records] == [1, 0, 1]
        assert [record.id for record in records] == ["videos/my clip.mp4", "videos/b.mp4", f"{listed}/c.mp4"]
        assert all(record.path.is_file() for record in records)
        assert dataset.coverage("train").present == 1

    def test_names_with_a_header(self, listed: Path) -> None:
        path = listed / "mine.txt"
        path.write_text('path,label\n"videos/my clip.mp4",riding a bike\nvideos/b.mp4,archery\n')
        dataset = load_dataset("list", listed, annotations=path)
        assert dataset.splits == ("all",)
        assert dataset.class_names == ("archery", "riding a bike")
        assert [record.label for record in dataset.records("all")] == [1, 0]

    def test_class_names_beside_the_list(self, listed: Path) -> None:
        (listed / "classes.txt").write_text("walk\nrun\nsit\n")
        dataset = load_dataset("list", listed)
        assert [dataset.class_names[record.label] for record in dataset.records("val")] == ["run", "walk", "run"]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("videos/b.mp4\n", "val.csv, line 1: expected `path label`"),
            ("videos/b.mp4 0\nc.mp4 walk\n", "val.csv, line 2: label 'walk' is a name, those before are numbers"),
            ("videos/b.mp4 -1\n", "line 1: label -1 is out of range"),
            ("videos/b.mp4 1700000000\n", "a name|0 to|numbers"),
            ("videos/b.mp4 123456789\n", "has the label 123456789"),
            ("videos/b.mp4 0\nc.mp4 300 1\n", "line 2: two numbers behind the path, '300 1'; leave out the number of"),
            ("path,label\n", "lists no video"),
            ("\n\n", "lists no video"),
            ("videos/b.mp4 0\nvideos/b.mp4 1\n", "lists 'videos/b.mp4' more than once"),
        ],
    )
    def test_bad_lists(self, listed: Path, text: str, message: str) -> None:
        (listed / "train.csv").unlink()
        (listed / "val.csv").write_text(text)
        if "1700000000" in text:
            (listed / "val.csv").write_text(f"c.mp4 1\n{text}")
        with pytest.raises(DatasetError, match=message):
            load_dataset("list", listed).records("val")

    def test_a_name_too_long_for_the_disk_is_one_missing_clip(self, listed: Path) -> None:
        (listed / "val.csv").write_text(f"{'x' * 5000}.mp4 0\nvideos/b.mp4 1\n")
        assert load_dataset("list", listed).coverage("val").present == 1

    def test_label_beyond_the_class_names(self, listed: Path) -> None:
        (listed / "classes.txt").write_text("walk\n")
        with pytest.raises(AnnotationError, match=r"val.csv, line 1: label 1 is out of range: there are 1 classes"):
            load_dataset("list", listed).records("val")
