"""`folder` and `list`: answers by hand, and every bad input as one sentence."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tvts_bench.datasets.base import AnnotationError, DatasetError
from tvts_bench.datasets.folder import LINKS, NOT_A_VIDEO, SAME_FILE
from tvts_bench.datasets.loading import load_dataset
from tvts_bench.video.reader import decode_frames


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

    def test_a_link_to_the_root_gives_no_clip_a_second_label(self, folder: Path) -> None:
        before = load_dataset("folder", folder).fingerprint("all")
        (folder / "walk/all").symlink_to(folder)
        (folder / "again").symlink_to("../folder")
        (folder / "run/up").symlink_to("../..")
        dataset = load_dataset("folder", folder)
        assert dataset.fingerprint("all") == before
        assert dataset.left_out[LINKS] == ["again", "run/up", "walk/all"]
        assert "left out: 3 links to a folder that has a class already" in " ".join(dataset.notes)

    def test_a_folder_has_the_class_in_which_it_lies_and_not_that_of_a_link(self, folder: Path) -> None:
        (folder / "arch").symlink_to("walk")  # comes first by name
        (folder / "run/night").symlink_to("../walk/night")
        dataset = load_dataset("folder", folder)
        assert dataset.class_names == ("run", "walk")
        assert [record.id for record in dataset.records("all")][2:] == ["walk/a.mp4", "walk/night/b.MKV"]
        assert dataset.left_out[LINKS] == ["arch", "run/night"]

    def test_class_folders_may_be_links_to_elsewhere(self, folder: Path, tmp_path: Path) -> None:
        make(tmp_path / "disk", "jump/deep/e.mp4")
        (folder / "jump").symlink_to(tmp_path / "disk/jump")
        dataset = load_dataset("folder", folder)
        assert [record.id for record in dataset.records("all") if record.label == 0] == ["jump/deep/e.mp4"]
        assert LINKS not in dataset.left_out

    @pytest.mark.parametrize("link", [os.symlink, os.link])
    def test_a_file_under_two_classes_is_a_clip_of_one(
        self, folder: Path, link: Callable[[Path, Path], None], caplog: pytest.LogCaptureFixture
    ) -> None:
        link(folder / "run/c.webm", folder / "walk/same.webm")
        dataset = load_dataset("folder", folder)
        assert [record.id for record in dataset.records("all")] == [
            "run/c.webm",
            "run/d.mp4",
            "walk/a.mp4",
            "walk/night/b.MKV",
        ]
        assert dataset.left_out[SAME_FILE] == ["walk/same.webm"]
        assert "left out: 1 files that are a clip of another class, too" in caplog.text

    def test_every_file_is_a_record_or_named(self, folder: Path) -> None:
        make(folder, "walk/e.GIF", "walk/f.vob", "walk/g.mp4.part", "walk/h", "run/i.xyz")
        (folder / "run/gone").symlink_to("nowhere")
        dataset = load_dataset("folder", folder)
        assert [record.id for record in dataset.records("all") if record.id[5] in "ef"] == ["walk/e.GIF", "walk/f.vob"]
        (reason,) = dataset.left_out
        assert reason == f"{NOT_A_VIDEO} (none 2, .txt 1, .xyz 1, .part 1)"
        assert dataset.left_out[reason] == ["notes/readme.txt", "run/gone", "run/i.xyz", "walk/g.mp4.part", "walk/h"]

    def test_what_is_left_out_of_split_folders_is_named_below_the_root(self, tmp_path: Path) -> None:
        make(tmp_path, "train/walk/a.mp4", "val/walk/c.mp4", "val/walk/list.txt")
        dataset = load_dataset("folder", tmp_path)
        assert list(dataset.left_out.values()) == [["val/walk/list.txt"]]

    def test_video_without_a_class(self, folder: Path) -> None:
        make(folder, "stray.mp4")
        with pytest.raises(DatasetError, match=r"stray.mp4 lies beside the class folders"):
            load_dataset("folder", folder)

    def test_names_that_are_not_utf8(self, folder: Path) -> None:
        (folder / "walk" / b"caf\xe9.mp4".decode(errors="surrogateescape")).touch()
        assert len(load_dataset("folder", folder).fingerprint("all")) == 64


@pytest.mark.parametrize(
    ("ending", "codec", "pixels"),
    [
        ("gif", "gif", "rgb8"),
        ("vob", "mpeg2video", "yuv420p"),
        ("asf", "wmv2", "yuv420p"),
        ("mxf", "mpeg2video", "yuv420p"),
    ],
)
def test_files_with_the_endings_of_videos_can_be_read(tmp_path: Path, ending: str, codec: str, pixels: str) -> None:
    (tmp_path / "walk").mkdir()
    with av.open(tmp_path / f"walk/a.{ending}", "w") as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
        for level in range(0, 200, 20):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), level, np.uint8), format="rgb24")
            container.mux(stream.encode(frame.reformat(format=pixels)))
        container.mux(stream.encode(None))
    (record,) = load_dataset("folder", tmp_path).records("all")
    decoded = decode_frames(record.path, np.arange, "pyav")
    assert decoded.num_frames == 10
    assert decoded.frames.mean(axis=(1, 2, 3)) == pytest.approx(range(0, 200, 20), abs=20)


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

    @pytest.mark.parametrize(
        "text",
        [
            "path,label,split\nvideos/b.mp4,walk,train\nc.mp4,run,val\n",
            "\ufeffpath;label;split\r\nvideos/b.mp4;walk;training\r\nc.mp4;run;validation\r\n",
            "split\tclass\tvideo_name\ntrain\twalk\tvideos/b.mp4\nval\trun\tc.mp4\n",
            "# made by hand\n# path label split\nvideos/b.mp4 walk train\n# a comment\nc.mp4 run val\n",
            "Unnamed: 0,Clip Name,clip_path,Label,Subset\n0,b,videos/b.mp4,walk,Train\n1,c,c.mp4,run,valid\n",
            ",filename,category,label_id,split,frames\n0,videos/b.mp4,walk,1,train,30\n1,c.mp4,run,0,val,31\n",
            "videos/b.mp4,walk,train\nc.mp4,run,val\n",
            "videos/b.mp4\twalk\ttrain\nc.mp4\trun\tval\t\n",
            '"videos/b.mp4" , "walk" , "train"\n\n"c.mp4","run","val"\n',
        ],
    )
    def test_a_column_of_splits_selects(self, listed: Path, text: str) -> None:
        (listed / "mine.csv").write_bytes(text.encode())
        dataset = load_dataset("list", listed, annotations=listed / "mine.csv")
        assert (dataset.splits, dataset.info.default_split) == (("all", "train", "val"), "all")
        assert dataset.class_names == ("run", "walk")
        records = {split: [(r.id, r.label) for r in dataset.records(split)] for split in dataset.splits}
        train, val = [("videos/b.mp4", 1)], [("c.mp4", 0)]
        assert records == {"all": train + val, "train": train, "val": val}

    @pytest.mark.parametrize(
        "header", ["path,label", "video_name,tag", "File Name,Action", "tag,clip", "what,which", "video,kind"]
    )
    def test_headers_under_other_names(self, listed: Path, header: str) -> None:
        order = slice(None, None, -1 if header == "tag,clip" else 1)
        rows = [("videos/b.mp4", "walk"), ("c.mp4", "run")]
        text = "\n".join([header, *(",".join(row[order]) for row in rows)])
        (listed / "mine.csv").write_text(text)
        dataset = load_dataset("list", listed, annotations=listed / "mine.csv")
        assert dataset.class_names == ("run", "walk")
        assert [record.id for record in dataset.records("all")] == ["videos/b.mp4", "c.mp4"]

    def test_columns_that_name_a_part_of_a_video_are_named_as_not_read(self, listed: Path) -> None:
        (listed / "mine.csv").write_text("path,label,Start Time,end\nvideos/b.mp4,walk,0,2\nc.mp4,run,1,3\n")
        (note,) = load_dataset("list", listed, annotations=listed / "mine.csv").notes
        assert note == (
            "left out: 2 columns of mine.csv that name a part of each video (all are measured whole),"
            " the first: 'Start Time'"
        )

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("b.mp4,jump,high\nc.mp4,run\n", "line 1: 3 fields, and nothing says what the last mean"),
            ("b.mp4,jump,train\nc.mp4,run\n", "line 1: 3 fields, .* begin the list with a header"),
            ("b.mp4 jump val\nc.mp4 run val\n", "line 1: is 'val' a part of the label 'jump val', or a column"),
            ("b.mp4 0 train\nc.mp4 1 val\n", "line 1: is 'train' a part of the label '0 train', or a column"),
            ("b.mp4 jump 120\nc.mp4 run 99\n", "line 1: is '120' a part of the label 'jump 120', or a column"),
            ("clips/b,jump,val\nclips/c,run,x\n", "line 1: 3 fields"),
            ("jump,b.mp4\nrun,c.mp4\n", "line 1: the label stands before the path"),
            ("path,label,split\nb.mp4,jump\n", "line 2: 2 fields, the header has 3"),
            ('path,label,split\n"b.mp4,jump,val\n', "line 2: quotes that are not closed, the header has 3"),
            ("path,label,split\nb.mp4,,val\n", "line 2: an empty field"),
            ("path,label,split\nb.mp4,a,val\npath,label,split\n", "line 3: the header once more"),
            ("path,label,split\nb.mp4,a,all\n", "line 2: a split cannot be called all"),
            (
                "x,y1,z\nb.mp4,a,c\n",
                "line 1: no column of labels among the columns x, y1, z; name them path, label and",
            ),
            ("video,clip,label\na.mp4,b.mp4,c\n", "line 1: several columns of paths"),
            ("path,label,class\nb.mp4,a,x\nc.mp4,a,y\n", "line 1: several columns of labels that are not the same"),
            ("path,label,split,set\nb.mp4,a,x,y\n", "line 1: several columns of splits"),
            (
                "label,youtube_id,time_start,time_end,split\na,abcdefghijk,1,2,val\n",
                "line 1: a list of Kinetics, which --dataset k400 reads",
            ),
            ("b.mp4,a\n#c.mp4,b\n", "line 2: a comment, or a name that begins with #"),
        ],
    )
    def test_ambiguous_lists_are_refused_with_the_line_and_the_way_out(
        self, listed: Path, text: str, message: str
    ) -> None:
        (listed / "mine.csv").write_text(text)
        with pytest.raises(AnnotationError, match=f"mine.csv, {message}"):
            load_dataset("list", listed, annotations=listed / "mine.csv")

    def test_quotes_keep_a_label_together(self, listed: Path) -> None:
        rows = ['c.mp4,"jump, high"', 'videos/b.mp4 "catch the train"', '"#b, c.mp4";run', "my,own.mp4,a & b"]
        (listed / "mine.csv").write_text("\n".join(rows))
        dataset = load_dataset("list", listed, annotations=listed / "mine.csv")
        assert [(record.id, dataset.class_names[record.label]) for record in dataset.records("all")] == [
            ("c.mp4", "jump, high"),
            ("videos/b.mp4", "catch the train"),
            ("#b, c.mp4", "run"),
            ("my,own.mp4", "a & b"),
        ]

    def test_a_row_of_another_split_than_the_list_is_named_for(self, listed: Path) -> None:
        (listed / "val.csv").write_text("path,label,split\nvideos/b.mp4,0,val\nc.mp4,0,train\n")
        with pytest.raises(AnnotationError, match=r"val.csv, line 3: split 'train' in a list read as val"):
            load_dataset("list", listed)

    def test_classes_of_a_split_are_those_of_the_whole_list(self, listed: Path) -> None:
        """So a network trained on one split and tested on another has the same labels."""
        (listed / "mine.csv").write_text("path,label,split\nvideos/b.mp4,b,holdout\nc.mp4,a,train\n")
        dataset = load_dataset("list", listed, annotations=listed / "mine.csv")
        assert dataset.splits == ("all", "holdout", "train")
        assert [record.label for record in dataset.records("holdout")] == [1]

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
