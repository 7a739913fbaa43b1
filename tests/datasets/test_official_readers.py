"""SSV2, Kinetics-400, UCF-101 and HMDB-51: answers by hand, and every bad line as one sentence."""

from pathlib import Path

import pytest

from tvts_bench.datasets.base import AnnotationError, Coverage, Dataset, DatasetError
from tvts_bench.datasets.loading import load_dataset


def rows(dataset: Dataset, split: str) -> list[tuple[str, str]]:
    """(id, class) of a split."""
    return [(record.id, dataset.class_names[record.label]) for record in dataset.records(split)]


class TestSSV2:
    def test_json(self, ssv2: Path) -> None:
        dataset = load_dataset("ssv2", ssv2)
        assert dataset.class_names == ("Closing something", "Opening something")
        assert rows(dataset, "val") == [("2", "Opening something"), ("1", "Closing something")]
        assert dataset.records("val")[0].path == ssv2 / "20bn-something-something-v2/2.webm"
        assert dataset.coverage("val") == Coverage(listed=2, present=2, official=(24_777, 24_776))
        assert not dataset.coverage("val").complete

    def test_newer_names_in_their_own_folder_read_the_same(self, ssv2: Path) -> None:
        dataset = load_dataset("ssv2", ssv2)
        before = [dataset.fingerprint(split) for split in ("train", "val")]
        (ssv2 / "labels").mkdir()
        for path in ssv2.glob("*.json"):
            path.rename(ssv2 / "labels" / path.name.removeprefix("something-something-v2-"))
        after = load_dataset("ssv2", ssv2)
        assert [after.fingerprint(split) for split in ("train", "val")] == before

    def test_path_label_list_gives_the_ids_of_the_json(self, ssv2: Path) -> None:
        listed = ssv2 / "sthv2_val_list_videos.txt"
        listed.write_text("2.webm 1\n1.webm 0\n")
        dataset = load_dataset("ssv2", ssv2, annotations=listed)
        assert dataset.splits == ("val",)
        assert dataset.fingerprint("val") == load_dataset("ssv2", ssv2).fingerprint("val")

    def test_list_without_names_has_174_numbers(self, tmp_path: Path) -> None:
        (tmp_path / "5.mp4").touch()
        (tmp_path / "val.csv").write_text("5.webm 173\n")
        assert rows(load_dataset("ssv2", tmp_path), "val") == [("5", "173")]
        (tmp_path / "val.csv").write_text("5.webm 174\n")
        with pytest.raises(AnnotationError, match=r"val.csv, line 1: label 174 is out of range: there are 174 classes"):
            load_dataset("ssv2", tmp_path).records("val")

    def test_test_split_needs_answers(self, ssv2: Path) -> None:
        with pytest.raises(DatasetError, match="the test split of ssv2 has no labels"):
            load_dataset("ssv2", ssv2).records("test")
        (ssv2 / "test-answers.csv").write_text("4;Opening [something]\n")
        assert rows(load_dataset("ssv2", ssv2), "test") == [("4", "Opening something")]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ('[\n{"id":"1","template":"Openin [something]"}]', "line 2: no class 'Openin something' .*did you mean"),
            ('[\n{"id":"1"},\n7]', "line 2: expected an object with an id and a template"),
            ('[{"id":"1","template":"Closing something"},\n7]', "line 2: expected an object"),
            ('[{"id":"1\\ud800","template":"Closing something"}]', "line 1: expected an object"),
            ('[{"id":"1\\u0000","template":"Closing something"}]', "line 1: expected an object"),
            ('{"id":"1"}', "line 1: expected an array"),
            ("[", "line 1: column 2: not JSON"),
            ("[]", "lists no video"),
            (
                '[{"id":1,"template":"Closing something"},{"id":"1","template":"Closing something"}]',
                "'1' more than once",
            ),
        ],
    )
    def test_bad_lists(self, ssv2: Path, text: str, message: str) -> None:
        (ssv2 / "something-something-v2-validation.json").write_text(text)
        with pytest.raises(DatasetError, match=message):
            load_dataset("ssv2", ssv2).records("val")

    @pytest.mark.parametrize("text", ['["a"]', '{"a": "1", "b": "2"}', '{"a": "x"}', "{}"])
    def test_bad_class_lists(self, ssv2: Path, text: str) -> None:
        (ssv2 / "something-something-v2-labels.json").write_text(text)
        with pytest.raises(AnnotationError, match=r"labels.json, line 1"):
            load_dataset("ssv2", ssv2)


class TestK400:
    def test_cvdf(self, k400: Path) -> None:
        dataset = load_dataset("k400", k400)
        assert dataset.class_names == ("air drumming", "making tea", "zumba, slow")
        assert rows(dataset, "val") == [
            ("abcdefghijk_000005_000015", "zumba, slow"),
            ("-_-abc12345_000100_000110", "air drumming"),
            ("gonegonegon_000007_000017", "air drumming"),
        ]
        assert [record.path.suffix for record in dataset.records("val")] == [".mp4", ".mkv", ".mp4"]
        coverage = dataset.coverage("val")
        assert (coverage.listed, coverage.present) == (3, 2)

    def test_class_folders_and_names_without_times(self, k400: Path) -> None:
        (k400 / "val/zumba, slow").mkdir()
        (k400 / "val/abcdefghijk_000005_000015.mp4").rename(k400 / "val/zumba, slow/abcdefghijk.webm")
        found = load_dataset("k400", k400).records("val")[0]
        assert found.path == k400 / "val/zumba, slow/abcdefghijk.webm"

    def test_another_cut_of_the_same_video_is_not_taken(self, k400: Path) -> None:
        (k400 / "val/gonegonegon_000050_000060.mp4").touch()
        assert not load_dataset("k400", k400).records("val")[2].path.exists()

    def test_a_file_in_the_folder_of_another_class_is_not_taken(
        self, k400: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A list without times would else take any cut of the video, of whatever class."""
        (k400 / "train/making_tea").mkdir()
        (k400 / "val/abcdefghijk_000005_000015.mp4").rename(k400 / "train/making_tea/abcdefghijk_000050_000060.mp4")
        (k400 / "val.csv").write_text("zumba, slow/abcdefghijk.mp4 2\nair drumming/-_-abc12345.mp4 0\n")
        (k400 / "classes.txt").write_text("air drumming\nmaking tea\nzumba, slow\n")
        records = load_dataset("k400", k400).records("val")
        assert [record.path.exists() for record in records] == [False, True]
        assert "1 videos listed in" in caplog.text
        assert "'abcdefghijk' in 'train/making_tea/abcdefghijk_000050_000060.mp4'" in caplog.text

    def test_rows_of_another_split_are_refused(self, k400: Path) -> None:
        listed = k400 / "my_val.csv"
        listed.write_text("path,label,split\nval/abcdefghijk.mp4,0,val\ntrain/zzzzzzzzzzz.mp4,1,train\n")
        with pytest.raises(AnnotationError, match=r"my_val.csv, line 3: split 'train' in a list read as val"):
            load_dataset("k400", k400, annotations=listed).records("val")

    def test_a_table_from_a_spreadsheet(self, k400: Path) -> None:
        """A byte order mark, semicolons and the line ends of Windows change nothing."""
        before = load_dataset("k400", k400).fingerprint("train")
        table = k400 / "annotations/train.csv"
        text = table.read_text().replace(",", ";").replace("\n", "\r\n")
        table.write_bytes(text.encode("utf-8-sig"))
        assert load_dataset("k400", k400).fingerprint("train") == before

    def test_replacements_are_preferred(self, k400: Path) -> None:
        replacement = k400 / "replacement_for_corrupted_k400/zzzzzzzzzzz_000001_000011.mp4"
        replacement.parent.mkdir()
        replacement.touch()
        assert load_dataset("k400", k400).records("train")[0].path == replacement

    def test_path_label_list_with_spaces(self, k400: Path) -> None:
        (k400 / "kinetics_label_map_k400.txt").write_text("air drumming\nmaking tea\nzumba, slow\n")
        listed = k400 / "my_val.csv"
        listed.write_text("some where/abcdefghijk.mp4 2\nair drumming/-_-abc12345_000100_000110.mp4,0\n")
        dataset = load_dataset("k400", k400, annotations=listed)
        assert rows(dataset, "val") == [("abcdefghijk", "zumba, slow"), ("-_-abc12345_000100_000110", "air drumming")]
        assert dataset.records("val")[0].path == k400 / "val/abcdefghijk_000005_000015.mp4"

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            ("a,b,1,2,val", "line 2: 5 fields, the header has 6"),
            ("a,id,x,2,val,0", r"line 2: times \['x', '2'\]"),
            ("a,id,1,2,train,0", "line 2: split 'train' in a list read as val"),
            ("a,,1,2,val,0", "line 2: no youtube_id"),
            (",id,1,2,val,0", "line 2: no label"),
            ("a,id,1,2,val,0\na,id,1,2,val,0", "none of the 2 videos|more than once"),
            ("", "lists no video"),
        ],
    )
    def test_bad_rows(self, k400: Path, row: str, message: str) -> None:
        header = "label,youtube_id,time_start,time_end,split,is_cc\n"
        (k400 / "annotations/val.csv").write_text(f"{header}{row}\n")
        with pytest.raises(DatasetError, match=message):
            load_dataset("k400", k400).records("val")

    def test_class_missing_from_the_label_map(self, k400: Path) -> None:
        (k400 / "classes.txt").write_text("air drumming\nzumba, fast\n")
        with pytest.raises(
            AnnotationError, match=r"val.csv, line 2: no class 'zumba, slow' among the 2 known; did you"
        ):
            load_dataset("k400", k400).records("val")


class TestUCF101:
    def test_split_of_fold_1(self, ucf101: Path) -> None:
        dataset = load_dataset("ucf101", ucf101)
        assert dataset.name == "ucf101-fold1"
        assert dataset.class_names == ("Archery", "HandstandPushups")
        assert rows(dataset, "test") == [
            ("Archery/v_Archery_g01_c01.avi", "Archery"),
            ("Archery/v_Archery_g01_c02.avi", "Archery"),
            ("HandstandPushups/v_HandStandPushups_g01_c01.avi", "HandstandPushups"),
        ]
        assert [record.group for record in dataset.records("test")] == [
            "Archery_g01",
            "Archery_g01",
            "HandstandPushups_g01",
        ]
        assert dataset.coverage("test") == Coverage(listed=3, present=3, official=(3_783,))

    def test_a_file_in_the_folder_of_another_class_is_missing(self, ucf101: Path) -> None:
        """But a copy without class folders, or with folders of other names, is found."""
        videos = ucf101 / "UCF-101"
        (videos / "Archery/v_Archery_g01_c01.avi").rename(videos / "HandstandPushups/v_Archery_g01_c01.avi")
        (videos / "Archery/v_Archery_g01_c02.avi").rename(videos / "v_Archery_g01_c02.avi")
        records = load_dataset("ucf101", ucf101).records("test")
        assert [record.path.exists() for record in records] == [False, True, True]
        assert records[0].path == videos / "Archery/v_Archery_g01_c01.avi"

    def test_folds_differ_and_have_their_own_sizes(self, ucf101: Path) -> None:
        first, second = (load_dataset("ucf101", ucf101, fold=fold) for fold in (1, 2))
        assert second.name == "ucf101-fold2"
        assert first.fingerprint("test") != second.fingerprint("test")
        assert second.coverage("train").official == (9_586,)

    @pytest.mark.parametrize("spelling", ["HandStandPushups", "handstandpushups"])
    def test_case_of_the_folder_does_not_matter(self, ucf101: Path, spelling: str) -> None:
        (ucf101 / "UCF-101/HandstandPushups").rename(ucf101 / "UCF-101" / spelling)
        listed = ucf101 / "ucfTrainTestlist/testlist01.txt"
        listed.write_text(listed.read_text().replace("HandstandPushups/", "HandStandPushups/"))
        dataset = load_dataset("ucf101", ucf101)
        assert dataset.records("test")[2].label == 1
        assert dataset.coverage("test").present == 3

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("Juggling/v_Juggling_g01_c01.avi\n", "testlist01.txt, line 1: no class 'Juggling'"),
            ("\nArchery/v_Archery_g01_c01.avi 3\n", "line 2: class number '3' is not one of 1 to 2"),
            ("Archery/v_Archery_g01_c01.avi 0\n", "class number '0' is not one of 1 to 2"),
            ("v_Archery_g01_c01.avi\n", "line 1: expected `CLASS/FILE`"),
            ("\n", "lists no video"),
        ],
    )
    def test_bad_lists(self, ucf101: Path, text: str, message: str) -> None:
        (ucf101 / "ucfTrainTestlist/testlist01.txt").write_text(text)
        with pytest.raises(DatasetError, match=message):
            load_dataset("ucf101", ucf101).records("test")

    @pytest.mark.parametrize("text", ["Archery\n", "1 Archery\n3 Diving\n", "1 Archery\n1 Diving\n", "", "0 Archery\n"])
    def test_bad_class_lists(self, ucf101: Path, text: str) -> None:
        (ucf101 / "ucfTrainTestlist/classInd.txt").write_text(text)
        with pytest.raises(DatasetError, match=r"classInd.txt"):
            load_dataset("ucf101", ucf101)

    def test_fold_4_is_refused(self, ucf101: Path) -> None:
        with pytest.raises(DatasetError, match="folds 1, 2 and 3, not 4"):
            load_dataset("ucf101", ucf101, fold=4)


class TestHMDB51:
    def test_flags_choose_the_split(self, hmdb51: Path) -> None:
        dataset = load_dataset("hmdb51", hmdb51)
        assert dataset.class_names == ("draw_sword", "wave")
        assert rows(dataset, "train") == [
            ("draw_sword/draw_draw_sword_f_cm_np1_fr_med_0.avi", "draw_sword"),
            ("wave/#2_Gum!_wave_f_cm_np1_fr_bad_0.avi", "wave"),
        ]
        assert rows(dataset, "test") == [
            ("draw_sword/B_draw_sword_f_cm_np1_fr_med_1.avi", "draw_sword"),
            ("wave/A(B)[c]&d_wave_u_nm_np10_le_goo_12.avi", "wave"),
        ]
        assert dataset.coverage("test").present == 2

    def test_group_is_class_and_source(self, hmdb51: Path) -> None:
        dataset = load_dataset("hmdb51", hmdb51)
        assert [record.group for record in dataset.records("train")] == ["draw_sword_draw", "wave_#2_Gum!"]
        assert dataset.records("test")[1].group == "wave_A(B)[c]&d"

    def test_folds(self, hmdb51: Path) -> None:
        dataset = load_dataset("hmdb51", hmdb51, fold=2)
        assert dataset.name == "hmdb51-fold2"
        assert rows(dataset, "train") == [("wave/A_wave_f_cm_np1_ba_med_3.avi", "wave")]

    @pytest.mark.parametrize("line", ["a_wave.avi 3", "a_wave.avi", "1"])
    def test_bad_flag(self, hmdb51: Path, line: str) -> None:
        (hmdb51 / "testTrainMulti_7030_splits/wave_test_split1.txt").write_text(f"x.avi 1 \n{line}\n")
        with pytest.raises(AnnotationError, match=r"wave_test_split1.txt, line 2: expected `FILE flag`"):
            load_dataset("hmdb51", hmdb51).records("train")
