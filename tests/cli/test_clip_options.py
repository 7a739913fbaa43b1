"""What options change of a backbone's input, and that the result says so."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from typer.testing import CliRunner, Result

from tvts_bench.cli.main import app
from tvts_bench.cli.options import ClipOptions
from tvts_bench.config_fields import field_options
from tvts_bench.errors import UserError
from tvts_bench.video.spec import ClipSpec, changed_clip

PIXELS = ("--short-side", "24", "--crop", "16", "--mean", "0.5", "--std", "0.25,0.25,0.5")
CHANGED = {"short_side": 24, "crop": 16, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.5], "interpolation": "bicubic"}
SQUASHED = {"resize": "squash", "sampling": "endpoints", "num_frames": 4}
OPTIONS = (*PIXELS, "--interpolation", "bicubic", "--resize", "squash", "--sampling", "endpoints", "--frames", "4")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--backbone", "pixels", "--workers", "0", "--dtype", "fp32"])


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TVTS_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def test_retrieval_records_the_input_it_measured_with(videos: Path) -> None:
    result = run("retrieval", "--dataset", "folder", "--root", str(videos), "--json", *OPTIONS)
    assert result.exit_code == 0, result.output
    clip = json.loads(result.stdout)["run"]["evaluator"]["clip"]
    assert (CHANGED | SQUASHED).items() <= clip.items()


def test_embed_keeps_the_input_beside_the_features(videos: Path, tmp_path: Path) -> None:
    result = run("embed", str(videos), *OPTIONS)
    assert result.exit_code == 0, result.output
    metadata = pyarrow.parquet.read_schema(tmp_path / "features.parquet").metadata
    assert b"squash" in b" ".join(metadata.values())
    assert b"endpoints" in b" ".join(metadata.values())


def test_search_takes_them_too(videos: Path) -> None:
    result = run("search", str(videos / "red" / "0.mp4"), str(videos), "--json", "--k", "1", *OPTIONS)
    assert result.exit_code == 0, result.output
    assert "red" in json.loads(result.stdout)[0]["path"]


OWN = ClipSpec(num_frames=8, sampling="dense", stride=2, seed=5)
BAD: list[tuple[dict[str, Any], str]] = [
    ({"crop": 256}, "crop 256 does not fit into short_side 224: change both"),
    ({"mean": "grey"}, "--mean must be one number or three, such as 0.485,0.456,0.406, got 'grey'"),
    ({"std": "0.1,0.2"}, "--std must be one number or three"),
    ({"std": "nan"}, "--std must be one number or three"),
    ({"std": "0"}, "std must be positive"),
    ({"resize": "pad"}, "resize must be one of short_side, squash, got 'pad'"),
    ({"interpolation": "nearest"}, "interpolation must be one of bilinear, bicubic, got 'nearest'"),
    ({"sampling": "endpoints", "views": "2x1"}, "temporal_views 1"),
]


def read(options: dict[str, Any]) -> dict[str, Any]:
    """Options as the command reads them."""
    known = field_options(ClipSpec)
    made = {name for name in known if name not in ("sampling", "position")}  # `--sampling` names both
    return {name: known[name].read(value) if name in made else value for name, value in options.items()}


@pytest.mark.parametrize(("changes", "sentence"), BAD)
def test_what_makes_no_sense_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        changed_clip(OWN, **read(changes))
    assert sentence in str(caught.value)


def test_nothing_given_changes_nothing() -> None:
    assert changed_clip(OWN) == OWN


def test_beside_a_recipe_frames_and_views_are_the_recipes() -> None:
    fields = read({"num_frames": 4, "stride": 3, "crop": 112, "mean": "0"})
    clip = changed_clip(OWN, **ClipOptions(sampling="random", views="2x3", fields=fields).pixels)
    assert clip == ClipSpec(num_frames=4, sampling="dense", stride=2, seed=5, crop=112, mean=(0, 0, 0))
