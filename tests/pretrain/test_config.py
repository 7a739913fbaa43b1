"""Configurations: presets, overrides, refusals, and that what is saved is what is read."""

import dataclasses
import json
import os
import re
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from pretrain.cli import app
from pretrain.config import compose, differences, from_yaml, to_yaml
from pretrain.yaml_config import description, override, plain, preset_names
from tests.support.tiny_run import PRESET, preset, tiny
from tvts_bench.errors import UserError

PAPER = ("root=/data/yt",)


def test_the_paper_preset_is_the_official_recipe() -> None:
    config, _ = compose("yt_temporal", PAPER)
    optim, objective = config.optim, config.objective
    assert (optim.lr, optim.weight_decay, optim.clip_grad, optim.warmup, optim.precision) == (1e-4, 0, None, 0, "fp32")
    assert (optim.schedule, optim.decay, config.epochs) == ("step", 0.1, 20)
    assert [share * 20 for share in optim.milestones] == [12, 16]
    assert config.data.batch_size == 24 * 32
    assert (objective.temperature, objective.weight, objective.segments, objective.stop_gradient) == (0.05, 2, 4, True)
    assert (config.model.mask, config.model.projection_dim) == (0.75, 256)
    assert (config.data.lengths, config.data.gap, config.data.sources[0].frames) == ((3, 4, 5), 1, 16)
    assert (config.text.name, config.text.max_tokens) == ("distilbert-base-uncased", 50)
    assert (config.video.embed_dim, config.video.depth, config.video.num_patches) == (768, 12, 1568)


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_whole_says_what_it_is_and_survives_being_saved(name: str) -> None:
    roots = {"cc_webvid": ["data.sources.0.root=/a", "data.sources.1.root=/b"], "yt_temporal": list(PAPER)}
    config, launch = compose(name, roots.get(name, []))
    assert launch.out == Path("runs") / name
    assert len(description(name)) > 20
    again = from_yaml(to_yaml(config), Path("config.yaml"))
    assert again == config
    assert again.digest == config.digest
    assert config.digest in to_yaml(config)


def test_overrides_reach_every_level_by_either_name(tmp_path: Path) -> None:
    config, launch = tiny(
        tmp_path, "steps=7", "objective.lambda=3", "optim.lr=1e-3", "data.sources.0.weight=2", "seed=5", "batch_size=6"
    )
    assert (config.steps, config.seed, config.objective.weight, config.optim.lr) == (7, 5, 3.0, 1e-3)
    assert config.data.sources[0].weight == 2.0
    assert config.data.batch_size == 6
    assert launch.out == tmp_path / "run"
    assert tiny(tmp_path, "lr=0.5")[0].optim.lr == 0.5


def test_steps_and_epochs_replace_each_other(tmp_path: Path) -> None:
    assert tiny(tmp_path, "epochs=2")[0].steps is None
    assert compose("yt_temporal", [*PAPER, "steps=4"])[0].epochs is None


@pytest.mark.parametrize(
    ("assignment", "sentence"),
    [
        ("optim.lrr=1", "unknown key 'optim.lrr' (did you mean optim.lr"),
        ("stepps=1", "unknown key 'stepps' (did you mean steps"),
        ("steps=many", "steps must be a whole number, got 'many'"),
        ("steps=1.5", "steps must be a whole number, got 1.5"),
        ("steps=0", "steps must be positive or left out, got 0"),
        ("steps=null", "exactly one of steps and epochs"),
        ("optim.lr=fast", "optim.lr must be a finite number, got 'fast'"),
        ("lr=inf", "optim.lr must be a finite number, got 'inf'"),
        ("data.gap=.nan", "data.gap must be a finite number, got nan"),
        ("seed=10000000000000000000", "seed must be from 0 to 2**63 - 1"),
        ("seed=99999999999999999999", "seed must be a whole number of at most 64 bits"),
        ("collapse_after=0", "collapse_after must be at least 1, got 0"),
        ("model.sorter_heads=0", "video.embed_dim 32 is not a multiple of sorter_heads 0"),
        ("steps=2023-13-45", "steps must be a whole number, got '2023-13-45'"),
        ("steps=1:30:00", "steps must be a whole number, got '1:30:00'"),
        ("steps=1_000", "steps must be a whole number, got '1_000'"),
        ("lr=1_000.5", "optim.lr must be a finite number, got '1_000.5'"),
        ("lr='1e-3'", "optim.lr must be a finite number, got '1e-3'"),
        ("steps=0b11", "steps must be a whole number, got '0b11'"),
        ("data.strict=yes", "data.strict must be true or false, got 'yes'"),
        ("data.strict=on", "data.strict must be true or false, got 'on'"),
        ("data.strict=!!bool yes", "'yes' is neither true nor false"),
        ("optim={lr: 1, lr: 2}", "(the key 'lr' is given twice); quote it"),
        ("data.lengths=[&a 3, *a]", "(the alias *a is not allowed, write its value out); quote it"),
        ("steps=" + "9" * 5000, "cannot be read as a YAML value (Exceeds the limit"),
        ("optim.lr=-1", "optim: lr must be positive, got -1.0"),
        ("optim.schedule=linear", "optim.schedule must be one of constant, cosine, step, got 'linear'"),
        ("objective.stop_gradient=1", "objective.stop_gradient must be true or false, got 1"),
        ("objective.segments=9", "objective: segments must be in [2, 6], got 9"),
        ("optim=3", "optim is a group of keys, got 3"),
        ("data.sources.1.root=/x", "'1' must be the number of an item, 0 to 0"),
        ("data.sources.0.kind=tiktok", "data.sources.0.kind must be one of yt_temporal"),
        ("data.lengths=3", "data.lengths must be a list, got 3"),
        ("optim.betas=[0.9]", "optim.betas must be a list of 2"),
        ("steps.more=1", "steps is a single value (10)"),
        ("steps", "expected key=value, got 'steps'"),
        ("optim.lr=[", "optim.lr=[ cannot be read as a YAML value"),
        ("video.image_size=64", "data.crop.size 32 and video.image_size 64 must be equal"),
        ("data.sources=[]", "data.sources is empty"),
        ("workers=-1", "workers must be at least 0, got -1"),
        ("workers=100000", "workers must be at most 1,024, got 100,000"),
        ("threads=100000", "threads must be at most 1,024, got 100,000"),
        ("video.depth=1000000000", "video.depth must be at most 1,000, got 1,000,000,000"),
        ("video.embed_dim=1000000000", "video.embed_dim must be at most 65,536, got 1,000,000,000"),
        ("video={embed_dim: 65536, depth: 1000, num_heads: 8}", "more than the 20,000,000,000 allowed"),
        ("video.num_frames=1000000000", "video.num_frames must be at most 4,096"),
        ("text.dim=2000000", "text: dim must be at most 65,536, got 2,000,000"),
        ("text.max_tokens=1000000000", "text: max_tokens must be at most 8,192"),
        ("data.batch_size=0", "data.batch_size must be at least 1, got 0"),
        ("data.max_failures=2", "data.max_failures must be in [0, 1], got 2.0"),
        ("data.batch_size=1000000000000", "data.batch_size must be at most 1,000,000"),
        ("data.sources.0.batch_size=10000000", "data.sources.0: batch_size must be at most 1,000,000"),
        ("steps=1000000000000", "steps must be at most 1,000,000,000"),
        ("epochs=1e12", "epochs must be at most 1,000,000"),
        ("init.text_batch=1000000000", "init.text_batch must be at most 1,000,000"),
        ("model.sorter_heads=0", "not a multiple of sorter_heads 0"),
        ("checkpoint.best=recall_at_1", "checkpoint.best=recall_at_1 needs validation.every, which is 0"),
        ("data.sources.0.frames=8", "a source has 8 frames, more than video.num_frames 4"),
        ("validation.source={kind: webvid, root: /v, frames: 4}", "is to be narrated video, got captions (webvid)"),
    ],
)
def test_nonsense_is_refused_with_the_key_and_what_it_got(tmp_path: Path, assignment: str, sentence: str) -> None:
    with pytest.raises(UserError) as refused:
        tiny(tmp_path, assignment)
    assert sentence in str(refused.value)


def test_captions_alone_are_not_sorted(tmp_path: Path) -> None:
    captions = "data.sources=[{kind: cc3m, root: /c, frames: 1}]"
    assert tiny(tmp_path, captions)[0].objective.align
    with pytest.raises(UserError, match=r"nothing to learn: objective\.align is off, and captions"):
        tiny(tmp_path, captions, "objective.align=false")


def test_clips_that_the_objective_cannot_cut_are_refused_before_training(tmp_path: Path) -> None:
    sorting = ("objective.target=merlot_like", "objective.segments=2", "data.sources.0.frames=4")
    tiny(tmp_path, *sorting)
    with pytest.raises(UserError, match="sorts 2 pieces of every clip, but those of cc3m have 2 frames, 1 tubelets"):
        tiny(tmp_path, *sorting, "data.sources=[{kind: cc3m, root: /images, frames: 1}]")
    with pytest.raises(UserError, match=r"has 2 frames, not a multiple of video\.tubelet 4"):
        tiny(tmp_path, "data.sources.0.frames=2", "video.tubelet=4")


@pytest.mark.parametrize("settings", [["objective.sort=pairwise"], ["objective.sort=none"]])
def test_a_best_state_by_what_is_never_measured_is_refused(tmp_path: Path, settings: list[str]) -> None:
    held_out = "validation.source={kind: scripted_motion_drawn, split: val, frames: 4}"
    followed = ("checkpoint.best=position_accuracy", "validation.every=5")
    tiny(tmp_path, *followed, held_out)
    with pytest.raises(UserError, match=r"checkpoint\.best=position_accuracy needs validation\.source"):
        tiny(tmp_path, *followed)
    with pytest.raises(UserError, match=r"checkpoint\.best=position_accuracy is not measured with objective\.sort="):
        tiny(tmp_path, *followed, held_out, *settings)


def test_an_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown preset 'yt_temporl' \(did you mean yt_temporal\?\)"):
        compose("yt_temporl", [])


def test_the_paper_preset_says_which_key_is_missing() -> None:
    with pytest.raises(UserError, match=r"data\.sources\.0: source yt_temporal needs root"):
        compose("yt_temporal", [])


def test_differences_are_dotted_keys(tmp_path: Path) -> None:
    assert differences(tiny(tmp_path)[0], tiny(tmp_path, "lr=0.5", "data.lengths=[2.0,3.0]")[0]) == [
        "data.lengths.0",
        "data.lengths.1",
        "optim.lr",
    ]


def test_a_preset_may_be_a_file(tmp_path: Path) -> None:
    assert compose(preset(tmp_path), [])[1].out == Path("runs/tiny")
    (tmp_path / "odd.yaml").write_text("- 1\n")
    with pytest.raises(UserError, match="expected a YAML mapping"):
        compose(str(tmp_path / "odd.yaml"), [])


NAMES = st.text("abcdefgh_", min_size=1, max_size=6)
VALUES = st.one_of(st.integers(), st.booleans(), st.none(), st.floats(allow_nan=False, allow_infinity=False), NAMES)


@given(path=st.lists(NAMES, min_size=1, max_size=4), value=VALUES)
def test_an_override_sets_what_it_names_and_nothing_else(path: list[str], value: object) -> None:
    values: dict[str, object] = {"zz": 1}
    override(values, ".".join(path), yaml.safe_dump(value).strip())
    node: object = values
    for name in path:
        assert isinstance(node, dict)
        node = node[name]
    assert node == value
    assert values["zz"] == 1
    assert set(values) == {"zz", path[0]}


@settings(deadline=None, max_examples=25)  # a preset is read each time
@given(st.integers(1, 10**6), st.floats(1e-8, 10.0), st.sampled_from(["constant", "cosine", "step"]))
def test_what_is_written_is_read_back(steps: int, lr: float, schedule: str) -> None:
    config, _ = compose("scripted_motion_tiny", [f"steps={steps}", f"lr={lr!r}", f"optim.schedule={schedule}"])
    assert (config.steps, config.optim.lr, config.optim.schedule) == (steps, lr, schedule)
    assert from_yaml(to_yaml(config), Path("x")) == config
    assert yaml.safe_load(to_yaml(config)) == plain(config)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"steps: 4\nvideo: [1,\noptim: {", "mine.yaml, line 3: not YAML"),
        (b"steps:\n\t- 1", "mine.yaml, line 2: not YAML"),
        (b"steps: 4\ndata: {}\nsteps: 5", "mine.yaml, line 3: not YAML (the key 'steps' is given twice)"),
        (b"optim:\n  lr: 1\n  lr: 2", "mine.yaml, line 3: not YAML (the key 'lr' is given twice)"),
        (b"a: &a [1]\nb: *a", "mine.yaml, line 2: not YAML (the alias *a is not allowed, write its value out)"),
        (b"a: " + b"[" * 100_000, "mine.yaml: not YAML (maximum recursion depth exceeded"),
        (b"a: !!python/object:os.system {}", "mine.yaml, line 1: not YAML"),
        (b"- 1", "mine.yaml holds no configuration: expected a YAML mapping"),
        (b"", "mine.yaml holds no configuration"),
        (b"steps: 4", "data is missing; it has no default"),
        (b"steps: 4\ndata: {sources: [{frames: 4}]}", "data.sources.0.kind is missing"),
        (b"description: \xe9", "mine.yaml cannot be read"),
    ],
)
def test_a_malformed_preset_file_is_one_sentence_with_its_line(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError) as refused:
        compose(str(path), [])
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [("010", 10), ("0o10", 8), ("0x10", 16), ("+7", 7), ("1e3", 1000), ("12e03", 12000)],
)
def test_whole_numbers_are_those_of_yaml_1_2(tmp_path: Path, text: str, value: int) -> None:
    """Decimal whatever it begins with: 1.1 reads 010 as 8."""
    path = tmp_path / "mine.yaml"
    path.write_text(PRESET.replace("steps: 10", f"steps: {text}"))
    assert compose(str(path), [])[0].steps == value
    assert compose(str(path), [f"steps={text}"])[0].steps == value


def test_a_preset_that_is_no_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "mine.yaml")
    with pytest.raises(UserError, match=r"mine\.yaml cannot be read .*a named pipe"):
        compose(str(tmp_path / "mine.yaml"), [])


def test_aliases_of_aliases_cost_no_time(tmp_path: Path) -> None:
    """Ten lines that stand for ten billion values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    path = tmp_path / "mine.yaml"
    path.write_text("\n".join(lines))
    started = time.monotonic()
    with pytest.raises(UserError, match=r"line 2: not YAML \(the alias \*a0 is not allowed"):
        compose(str(path), [])
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("text", ["yes", "010", "1e5", "1:30", "0o17", "null", "~", "2023-01-01", "1_0", "true", "<<"])
def test_text_that_looks_like_something_else_is_read_back_as_text(text: str) -> None:
    config = compose("scripted_motion_tiny", [f"description='{text}'"])[0]
    assert config.description == text
    assert from_yaml(to_yaml(config), Path("x")) == config
    assert yaml.safe_load(to_yaml(config)) == plain(config)


def test_the_command_shows_the_configuration_that_a_run_would_have() -> None:
    settings = ["objective.sort=none", "seed=3"]
    shown = CliRunner().invoke(app, ["config", "scripted_motion_tiny", *settings])
    assert yaml.safe_load(shown.stdout) == plain(compose("scripted_motion_tiny", settings)[0])
    each = json.dumps([["lr=1e-4"], ["lr=2e-4"]])
    shown = CliRunner().invoke(app, ["config", "scripted_motion_tiny", "seed=3", "--each", "-", "--json"], input=each)
    assert [(one["seed"], one["optim"]["lr"]) for one in json.loads(shown.stdout)] == [(3, 1e-4), (3, 2e-4)]


@pytest.mark.parametrize(("each", "sentence"), [("5", "must be a list of lists"), ("[", "is not JSON")])
def test_a_list_of_configurations_that_is_none_is_refused(each: str, sentence: str) -> None:
    result = CliRunner().invoke(app, ["config", "scripted_motion_tiny", "--each", "-"], input=each)
    assert result.exit_code == 2
    assert sentence in result.stderr


def test_every_key_is_explained_by_its_field() -> None:
    shown = CliRunner().invoke(app, ["config", "scripted_motion_tiny", "--explain"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0, shown.output
    lines = dict(line.split("=", 1) for line in shown.stdout.splitlines())
    config, launch = compose("scripted_motion_tiny", [])
    assert lines["optim.warmup"] == "0.05  # Share of the run in which the rate rises linearly from about 0. In [0, 1)."
    assert lines["video.mlp_ratio"].endswith("# Hidden width of a block's MLP / embed_dim. At most 64.")
    assert lines["optim.schedule"].endswith("One of constant, cosine, step.")
    assert lines["workers"].startswith("1  # ")
    keys = {re.sub(r"(\.\d+)$", "", key) for key in config.flat}  # lists of numbers are one value
    assert set(lines) == keys | {field.name for field in dataclasses.fields(launch)}
    settings = [f"{key}={text.partition('  # ')[0]}" for key, text in lines.items() if "." in key or key == "seed"]
    assert compose("scripted_motion_tiny", settings)[0] == config
