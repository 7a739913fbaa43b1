"""The gallery of the page: queries, their neighbours, and pictures of both."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.pages import page_of, read
from tests.support.report_folders import (
    rankings,
    results_folder,
    retrieved,
    videos,
)
from tests.support.results import retrieval
from tvts_bench.report.folder import read_contents
from tvts_bench.report.page import build, render
from tvts_bench.report.videos import Strips
from tvts_bench.results.files import write_files
from tvts_bench.snapshot import file_signatures, snapshot


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return results_folder(tmp_path_factory.mktemp("made") / "results")


def test_the_gallery_marks_hits_and_misses_in_words_and_starts_with_the_worst_class(tmp_path: Path) -> None:
    dataset = videos(tmp_path / "videos", each=2)
    odd, blue = dataset.class_names
    a, b, c, d = (record.id for record in dataset.records("all"))  # a, b are odd; c, d are blue
    found = {a: [b, c], b: [a], c: [a, d], d: [a, b]}
    write_files(retrieved(dataset, "a", found), tmp_path / "out")
    shown = read(page_of(tmp_path / "out"))
    queries = shown.all("li", class_="query")
    assert [each["aria-label"] for each in queries] == [
        f"Query {d}, {blue}",  # found nothing
        f"Query {c}, {blue}",
        f"Query {a}, {odd}",
        f"Query {b}, {odd}",
    ]
    assert [each["data-recalls"].split() for each in queries[1:3]] == [["0.0000"] * 2, ["100.0000"] * 2]
    pictures = [each["aria-label"] for each in shown.all("span", role="img")]
    assert pictures[:3] == [f"query: {blue}", f"rank 1, miss: {odd}", f"rank 2, miss: {odd}"]
    assert pictures[3:6] == [f"query: {blue}", f"rank 1, miss: {odd}", f"rank 2, hit: {blue}"]
    assert "first hit at 2" in shown.text
    assert "no hit in 2" in shown.text


def test_pictures_are_made_once_and_stay_within_their_limit(folder: Path) -> None:
    built = build(read_contents(folder), queries=6)
    assert len(built.strips.by_path) == 6
    assert built.strips.bytes == sum(len(strip.data) for strip in built.strips.by_path.values())
    assert all((strip.width, strip.height) == (32, 32) for strip in built.strips.by_path.values())
    small = Strips(limit=built.strips.bytes - 1)
    for path in built.strips.by_path:
        small.add(path)
    assert small.is_full
    assert len(small.by_path) == 5
    assert not render(build(read_contents(folder), queries=0)).count("data:image/webp")


def test_videos_that_are_gone_leave_the_rest_and_are_said(tmp_path: Path) -> None:
    out = results_folder(tmp_path / "results")
    before = read(page_of(out))
    shutil.rmtree(tmp_path / "videos")
    after = read(page_of(out))
    assert "No pictures: its videos are not on this machine" in after.text
    assert "data:image/webp" not in page_of(out)
    assert len(after.all("li", class_="query")) == len(before.all("li", class_="query"))
    assert len(after.all("svg", role="group")) == len(before.all("svg", role="group"))
    videos(tmp_path / "moved")
    moved = build(read_contents(out), queries=4, roots={"folder": tmp_path / "moved"})
    assert moved.strips.by_path


def test_other_lists_are_not_taken_for_those_of_the_result(tmp_path: Path) -> None:
    out = results_folder(tmp_path / "results")
    videos(tmp_path / "videos", each=4)
    assert "are not those of the result (fingerprint" in read(page_of(out)).text


def test_videos_that_were_replaced_are_not_shown_as_neighbours(tmp_path: Path) -> None:
    """Pictures of other videos under the same names would show matches that nobody measured."""
    data = videos(tmp_path / "videos")
    files = snapshot(file_signatures(data.files("all")))
    result = retrieved(data, "a", rankings(data, 0))
    coverage = tuple(replace(item, files=files) for item in result.coverage)
    write_files(replace(result, coverage=coverage), tmp_path / "out")
    assert "data:image/webp" in page_of(tmp_path / "out")
    first, second = (record.path for record in data.records("all")[:2])
    first.write_bytes(second.read_bytes())
    page = page_of(tmp_path / "out")
    assert "No pictures: the videos of folder all under" in read(page).text
    assert "data:image/webp" not in page


def test_one_video_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    out = results_folder(tmp_path / "results")
    (tmp_path / "videos" / "blue" / "0.mp4").write_bytes(b"no video")
    text = read(page_of(out)).text
    assert "1 of the videos cannot be read; the first is 0.mp4: it is not a video" in text


def test_results_without_their_neighbours_are_named(tmp_path: Path) -> None:
    write_files(retrieval([[True]], backbone="lonely"), tmp_path)
    for path in tmp_path.glob("*.parquet"):
        path.unlink()
    assert "the neighbours of tvts:lonely (" in read(page_of(tmp_path)).text
