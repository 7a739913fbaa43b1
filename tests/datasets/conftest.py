"""Small copies of the official distributions, written as they unzip. The videos are empty: readers never open one."""

import json
from pathlib import Path

import pytest

Entries = list[dict[str, object]]


def touch(root: Path, *names: str) -> None:
    """Empty files below `root`, with their folders."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def write(path: Path, text: str) -> Path:
    """A text file with its folders; line ends as given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


@pytest.fixture
def ssv2(tmp_path: Path) -> Path:
    """Two classes; the JSON files under their names of 2018."""
    root = tmp_path / "ssv2"
    touch(root, *(f"20bn-something-something-v2/{clip}.webm" for clip in (1, 2, 3, 4)))
    write(root / "something-something-v2-labels.json", '{"Opening something": "1", "Closing something": "0"}')
    train: Entries = [
        {"id": "3", "label": "closing a door", "template": "Closing [something]", "placeholders": ["a door"]}
    ]
    val: Entries = [
        {"id": "2", "label": "opening a box", "template": "Opening [something]", "placeholders": ["a box"]},
        {"id": "1", "label": "closing a box", "template": "Closing [something]", "placeholders": ["a box"]},
    ]
    lists: dict[str, Entries] = {"train": train, "validation": val, "test": [{"id": "4"}]}
    for split, entries in lists.items():
        rows = ",\n".join(json.dumps(entry) for entry in entries)
        write(root / f"something-something-v2-{split}.json", f"[\n{rows}\n]")
    return root


@pytest.fixture
def k400(tmp_path: Path) -> Path:
    """CVDF's layout: flat folders of files with times in their names, csv with quoted names."""
    root = tmp_path / "k400"
    touch(root, "val/abcdefghijk_000005_000015.mp4", "val/-_-abc12345_000100_000110.mkv")
    touch(root, "train/zzzzzzzzzzz_000001_000011.mp4")
    header = "label,youtube_id,time_start,time_end,split,is_cc\n"
    val = '"zumba, slow",abcdefghijk,5,15,val,0\nair drumming,-_-abc12345,100,110,val,1\n'
    write(root / "annotations/val.csv", header + val + "air drumming,gonegonegon,7,17,val,0\n")
    write(root / "annotations/train.csv", header + "making tea,zzzzzzzzzzz,1,11,train,0\n")
    return root


@pytest.fixture
def ucf101(tmp_path: Path) -> Path:
    """CRLF line ends, and the class whose folder and files differ in case."""
    root = tmp_path / "ucf"
    pushups = [f"HandstandPushups/v_HandStandPushups_g0{group}_c01.avi" for group in (1, 2)]
    archery = [f"Archery/v_Archery_g0{group}_c0{clip}.avi" for group in (1, 2) for clip in (1, 2)]
    touch(root / "UCF-101", *pushups, *archery)
    lists = root / "ucfTrainTestlist"
    write(lists / "classInd.txt", "1 Archery\r\n2 HandstandPushups\r\n\r\n")
    for fold in (1, 2, 3):
        test, train = (pushups[:1], pushups[1:]) if fold == 1 else (pushups[1:], pushups[:1])
        write(lists / f"testlist0{fold}.txt", "".join(f"{name}\r\n" for name in [*archery[:2], *test]))
        numbered = [*(f"{name} 1\r\n" for name in archery[2:]), *(f"{name} 2\r\n" for name in train)]
        write(lists / f"trainlist0{fold}.txt", "".join(numbered))
    return root


HMDB_NAMES = {
    "wave": [
        "#2_Gum!_wave_f_cm_np1_fr_bad_0.avi",
        "A(B)[c]&d_wave_u_nm_np10_le_goo_12.avi",
        "A_wave_f_cm_np1_ba_med_3.avi",
    ],
    "draw_sword": ["draw_draw_sword_f_cm_np1_fr_med_0.avi", "B_draw_sword_f_cm_np1_fr_med_1.avi"],
}


@pytest.fixture
def hmdb51(tmp_path: Path) -> Path:
    """One list a class and fold, with the trailing space that the official ones have."""
    root = tmp_path / "hmdb"
    for name, videos in HMDB_NAMES.items():
        touch(root / "hmdb51_org" / name, *videos)
        for fold in (1, 2, 3):
            flags = [
                (number + fold) % 3 for number in range(len(videos))
            ]  # fold 1: 1 2 0, fold 2: 2 0 1, fold 3: 0 1 2
            text = "".join(f"{video} {flag} \n" for video, flag in zip(videos, flags, strict=True))
            write(root / f"testTrainMulti_7030_splits/{name}_test_split{fold}.txt", text)
    return root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes, one with a deeper folder, and things that are no class."""
    root = tmp_path / "folder"
    touch(root, "walk/a.mp4", "walk/night/b.MKV", "run/c.webm", ".git/x.mp4", "notes/readme.txt", "readme.md")
    (root / "run/d.mp4").mkdir()
    return root


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """VideoMAE's csv: path, space, number."""
    root = tmp_path / "listed"
    touch(root, "videos/my clip.mp4", "videos/b.mp4", "c.mp4")
    write(root / "val.csv", f"videos/my clip.mp4 1\nvideos/b.mp4 0\n{root}/c.mp4 1\n")
    write(root / "train.csv", "videos/gone.mp4 0\nvideos/b.mp4 2\n")
    return root
