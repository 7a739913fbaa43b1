"""The common start: both encoders from one file, all else from the run's seed; never of another world or size."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from pretrain import start
from pretrain.assembly import build_model
from pretrain.cli import app
from pretrain.config import compose
from pretrain.model.text import TextTokenizer
from pretrain.model.tvts import TVTS
from tests.support.tiny_run import tiny
from tvts_bench.datasets.scripted_motion.phrases import vocabulary
from tvts_bench.errors import UserError
from tvts_bench.models.checkpoint import CheckpointError

TOKENIZER = TextTokenizer.from_corpus([" ".join(vocabulary())], 24)


def written(folder: Path, *settings: str, name: str = "start.safetensors") -> Path:
    """A start of the tiny run's size, as if trained."""
    config, _ = tiny(folder, "seed=9", *settings)
    model = TVTS.seeded(config.network, TOKENIZER, 9)
    start.write_start(folder / name, model.state_dict(), TOKENIZER, 9)
    return folder / name


def test_encoders_come_from_the_start_and_all_else_from_the_seed(tmp_path: Path) -> None:
    path = written(tmp_path)
    filled = [build_model(tiny(tmp_path, f"init.checkpoint={path}", f"seed={s}")[0], TOKENIZER) for s in (0, 1)]
    fresh = [build_model(tiny(tmp_path, f"seed={s}")[0], TOKENIZER) for s in (0, 1)]
    began = load_file(path)
    for model, untouched in zip(filled, fresh, strict=True):
        for name, tensor in model.state_dict().items():
            is_encoder = name.startswith(("video_model.", "text_model."))
            assert torch.equal(tensor, began[name] if is_encoder else untouched.state_dict()[name]), name
    one, other = (model.state_dict()["vid_proj.0.weight"] for model in filled)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("sort", ["none", "pairwise", "factorial"])
def test_one_start_goes_with_every_objective(tmp_path: Path, sort: str) -> None:
    path = written(tmp_path)
    model = build_model(tiny(tmp_path, f"init.checkpoint={path}", f"objective.sort={sort}")[0], TOKENIZER)
    assert torch.equal(model.video_model.cls_token, load_file(path)["video_model.cls_token"])


def test_a_start_of_another_world_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    with safe_open(path, "pt") as file:
        facts = json.loads(file.metadata()["start"])
    for key, what in (("world", "world"), ("vocabulary_sha256", "vocabulary")):
        other = json.dumps({**facts, key: "0" * 64})
        save_file(load_file(path), tmp_path / "other.safetensors", {"start": other})
        config, _ = tiny(tmp_path, f"init.checkpoint={tmp_path / 'other.safetensors'}")
        with pytest.raises(UserError, match=f"is a start from another {what} than this run's: make one with"):
            build_model(config, TOKENIZER)


def test_encoders_of_no_known_world_are_refused(tmp_path: Path) -> None:
    save_file(load_file(written(tmp_path)), tmp_path / "bare.safetensors")
    with pytest.raises(UserError, match="does not say of which world: it is no start"):
        build_model(tiny(tmp_path, f"init.checkpoint={tmp_path / 'bare.safetensors'}")[0], TOKENIZER)


def test_a_start_of_another_size_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "video.embed_dim=16")
    with pytest.raises(CheckpointError, match=r"start\.safetensors"):
        build_model(tiny(tmp_path, f"init.checkpoint={path}")[0], TOKENIZER)


def test_a_start_says_where_both_encoders_begin(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="checkpoint and start both say where the video encoder starts; give one"):
        tiny(tmp_path, "init.checkpoint=a.pt", "init.start=0")
    with pytest.raises(UserError, match="text_steps=3 would train anew the text encoder that start=0 brings along"):
        tiny(tmp_path, "init.text_steps=3", "init.start=0")
    with pytest.raises(UserError, match=r"init\.start must be at least 0 or left out, got -1"):
        tiny(tmp_path, "init.start=-1")


@pytest.fixture
def short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The preset of starts, cut down to seconds."""
    config = "steps: 2\ninit: {video: mae, text_steps: 2, text_batch: 8}\ncheckpoint: {every_steps: 0}\n"
    text = Path(tiny.__globals__["preset"](tmp_path)).read_text()
    path = tmp_path / "short.yaml"
    path.write_text(text.replace("steps: 10\n", config).replace("checkpoint: {every_steps: 4}\n", ""))
    monkeypatch.setattr(start, "PRESET", str(path))
    return str(path)


def test_a_start_is_made_once_and_is_the_seeds(tmp_path: Path, short: str) -> None:
    cache = tmp_path / "cache"
    first = start.make_start(cache, 0)
    before = first.stat().st_mtime_ns
    assert start.make_start(cache, 0) == first
    assert first.stat().st_mtime_ns == before
    other, again = start.make_start(cache, 1), start.make_start(tmp_path / "elsewhere", 0)
    name = "video_model.patch_embed.proj.weight"
    assert not torch.equal(load_file(first)[name], load_file(other)[name])
    assert again.read_bytes() == first.read_bytes()
    assert {path.suffix for path in (cache / "starts").iterdir()} == {".safetensors", ".lock"}  # the run is gone
    assert {name.split(".")[0] for name in load_file(first)} == {"video_model", "text_model"}


def test_a_run_with_init_start_begins_with_it(tmp_path: Path, short: str) -> None:
    path = start.make_start(tmp_path / "cache", 5)
    model = build_model(tiny(tmp_path, "init.start=5")[0], TOKENIZER, cache=tmp_path / "cache")
    assert torch.equal(model.video_model.pos_embed, load_file(path)["video_model.pos_embed"])


def test_a_killed_run_leaves_nothing_that_is_taken_for_a_start(tmp_path: Path, short: str) -> None:
    path = start.start_file(tmp_path, 0)
    (path.with_suffix("") / "checkpoints").mkdir(parents=True)
    (path.with_suffix("") / "config.yaml").write_text("half")
    assert load_file(start.make_start(tmp_path, 0))


def test_the_command_prints_where_it_lies(tmp_path: Path, short: str, capsys: pytest.CaptureFixture[str]) -> None:
    copy, cache = tmp_path / "mine" / "s.safetensors", tmp_path / "cache"
    app(["start", "--seed", "2", "--cache", str(cache), "--out", str(copy)], standalone_mode=False)
    assert capsys.readouterr().out.strip() == str(copy)
    assert copy.read_bytes() == start.start_file(cache, 2).read_bytes()


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path, short: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match=r"cannot make the start of seed 0 in .*file"):
        start.make_start(tmp_path / "file", 0)


def test_the_preset_of_starts_fits_the_presets_that_begin_with_one() -> None:
    began = compose(start.PRESET, [])[0]
    for name in ("scripted_motion_quick",):
        config = compose(name, [])[0]
        assert (began.video, began.text.dim, began.text.depth, began.text.max_tokens) == (
            config.video, config.text.dim, config.text.depth, config.text.max_tokens,
        )  # fmt: skip
        assert began.objective.sort == "none"
