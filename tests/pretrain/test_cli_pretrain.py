"""The command line: exit codes, sentences, and an interrupted run that ends as an uninterrupted one, to the bit."""

import fcntl
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from pretrain.cli import app
from pretrain.data.batches import NarratedBatch
from pretrain.model.tvts import TVTS
from pretrain.run_folder import RunError, State, alone, load_state, open_run, read_status
from pretrain.runs import begin, export_run, resume
from pretrain.schema import ConfigError
from tests.pretrain.narration_files import write_yt_tree
from tests.pretrain.tiny_run import preset, tiny
from tests.support.short_of_space import files_no_longer_than
from tvts_bench.backbones.loading import load_backbone
from tvts_bench.datasets.base import VideoRecord
from tvts_bench.distributed import Rank
from tvts_bench.features.extraction import extract
from tvts_bench.runtime import Runtime
from tvts_bench.training.checkpoint import BEST, LAST, TrainingStateError, save_checkpoint
from tvts_bench.training.trainer import Trainer
from tvts_bench.video.clips import load_clip
from tvts_bench.video.spec import IMAGENET_MEAN, IMAGENET_STD
from tvts_bench.video.transforms import normalise

LONG = ("steps=40", "checkpoint.every_steps=10")
runner = CliRunner()


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pretrain", *arguments]


def started(folder: Path, workers: int = 0) -> subprocess.Popen[str]:
    """A long run in a process group of its own, as a shell starts it."""
    fixed = (f"out={folder / 'run'}", f"workers={workers}", "threads=1", "log_every=1", "device=cpu")
    arguments = command("run", preset(folder), *fixed, *LONG)
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        arguments, text=True, env=one_thread, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )


def wait_for_step(run: Path, step: int, process: subprocess.Popen[str]) -> None:
    metrics = run / "metrics.jsonl"
    while not (metrics.is_file() and f'"step": {step},' in metrics.read_text()):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def losses(run: Path) -> list[tuple[int, float]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [(line["step"], line["loss"]) for line in lines if "loss" in line]


def assert_same_end(run: Path, other: Path) -> None:
    """Weights, optimiser and every logged loss are bit-identical."""
    first, second = (load_state(each / "checkpoints" / LAST) for each in (run, other))
    assert first.step == second.step == 40
    assert all(torch.equal(first.model[name], second.model[name]) for name in first.model)
    for one, two in zip(first.optimizer["state"].values(), second.optimizer["state"].values(), strict=True):
        assert all(torch.equal(one[name], two[name]) for name in one)
    assert losses(run) == losses(other)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As in the processes started here: the number of threads decides how sums are rounded."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    begin(*tiny(folder, *LONG))
    return folder / "run"


def test_a_run_killed_between_states_ends_the_same_to_the_bit(tmp_path: Path, uninterrupted: Path) -> None:
    process = started(tmp_path)
    wait_for_step(tmp_path / "run", 13, process)
    process.kill()
    process.wait()
    assert load_state(tmp_path / "run/checkpoints" / LAST).step < 40
    assert read_status(tmp_path / "run")["outcome"] == "running"
    resume(tmp_path / "run")
    assert_same_end(tmp_path / "run", uninterrupted)


def test_ctrl_c_reaches_loading_processes_too_and_yet_all_is_saved(tmp_path: Path, uninterrupted: Path) -> None:
    process = started(tmp_path, workers=1)
    wait_for_step(tmp_path / "run", 3, process)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 128 + signal.SIGINT, said
    assert f"tvts-pretrain resume {tmp_path / 'run'}" in said
    assert "Traceback" not in said
    assert read_status(tmp_path / "run")["outcome"] == "interrupted"
    assert 3 <= load_state(tmp_path / "run/checkpoints" / LAST).step < 40
    resume(tmp_path / "run", ["workers=0"])  # who loads the data changes nothing
    assert_same_end(tmp_path / "run", uninterrupted)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_a_run_after_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int
) -> None:
    """SIGHUP is what a terminal or a connection leaves behind that is gone."""
    forward, calls = TVTS.forward, []

    def told(self: TVTS, *args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), number)
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(TVTS, "forward", told)
    result = runner.invoke(app, ["run", preset(tmp_path), f"out={tmp_path / 'run'}", "workers=0", "threads=1"])
    assert result.exit_code == code, result.output
    assert f"stopped by {number.name}" in result.output
    assert load_state(tmp_path / "run/checkpoints" / LAST).step == 3
    assert read_status(tmp_path / "run")["outcome"] == "interrupted"


def test_a_terminal_that_is_gone_costs_no_step(tmp_path: Path) -> None:
    """Its end sends SIGHUP to all processes of the run, loading ones too, and nothing can be printed any more."""
    master, slave = os.openpty()
    os.set_blocking(master, False)
    settings = ("steps=5000", f"out={tmp_path / 'run'}", "workers=1", "threads=1", "log_every=1", "device=cpu")
    process = subprocess.Popen(
        command("run", preset(tmp_path), *settings),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(slave)
    metrics = tmp_path / "run/metrics.jsonl"
    while not (metrics.is_file() and '"step": 3,' in metrics.read_text()):
        assert process.poll() is None
        with suppress(BlockingIOError):
            os.read(master, 1 << 16)  # as a terminal does, lest the run waits for it
        time.sleep(0.01)
    os.close(master)
    assert process.wait(120) == 128 + signal.SIGHUP
    assert read_status(tmp_path / "run")["outcome"] == "interrupted"
    assert 3 <= load_state(tmp_path / "run/checkpoints" / LAST).step < 5000


def test_a_run_that_could_not_begin_may_be_begun_again(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no file"):
        begin(*tiny(tmp_path, "init.mae=/no/mae.pth"))
    begin(*tiny(tmp_path, "steps=1"))
    assert read_status(tmp_path / "run")["outcome"] == "finished"


def test_a_run_killed_before_its_first_state_begins_again(tmp_path: Path, uninterrupted: Path) -> None:
    begin(*tiny(tmp_path, *LONG))
    (tmp_path / "run/checkpoints" / LAST).unlink()
    resume(tmp_path / "run")
    assert_same_end(tmp_path / "run", uninterrupted)


def test_resuming_what_is_finished_changes_nothing(tmp_path: Path, uninterrupted: Path) -> None:
    before = (uninterrupted / "checkpoints" / LAST).read_bytes()
    resume(uninterrupted)
    state = load_state(uninterrupted / "checkpoints" / LAST)
    (tmp_path / "x").write_bytes(before)
    assert all(torch.equal(value, state.model[name]) for name, value in load_state(tmp_path / "x").model.items())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [("lr=1", "optim.lr differs from the run"), ("data.sources.0.weight=2", "data.sources.0.weight differs")],
)
def test_another_configuration_is_refused_on_resume(uninterrupted: Path, change: str, sentence: str) -> None:
    with pytest.raises(RunError, match=sentence):
        resume(uninterrupted, [change])


def test_another_batch_size_is_allowed_on_resume_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    begin(*tiny(tmp_path, "steps=4"))
    resume(tmp_path / "run", ["batch_size=2"])
    assert "changed on resume: data.batch_size" in caplog.text
    resume(tmp_path / "run")  # the change is kept, and is no longer one


def test_what_changes_no_weight_may_change_on_resume(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    begin(*tiny(tmp_path, "steps=2"))
    resume(tmp_path / "run", ["collapse_after=9", "checkpoint.every_steps=3", "validation.samples=8"])
    assert "changed on resume: checkpoint.every_steps, collapse_after, validation.samples" in caplog.text
    with pytest.raises(RunError, match=r"goes on in its own folder, .*run, not in /else"):
        resume(tmp_path / "run", ["out=/else"])


def test_two_processes_do_not_train_in_one_folder(tmp_path: Path) -> None:
    begin(*tiny(tmp_path, "steps=1"))
    config = (tmp_path / "run/config.yaml").read_text()
    with alone(tmp_path / "run", Rank()), pytest.raises(RunError, match="another process is training in"):
        resume(tmp_path / "run", ["batch_size=2"])
    assert (tmp_path / "run/config.yaml").read_text() == config


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("config.yaml", b"a: [", "config.yaml, line 1: not YAML"),
        ("config.yaml", b"\xff\xfe\x00", "it is not UTF-8 text"),
        ("place.yaml", b"a: [", "place.yaml, line 1: not YAML"),
        ("place.yaml", b"nope: 1", "place.yaml: unknown key 'nope'"),
        ("tokenizer.json", b"{", "tokenizer.json is not a tokenizer"),
        ("checkpoints/last.pt", b"", "is not a readable state of a training: damaged or another kind of file"),
    ],
)
def test_damaged_files_of_a_run_are_named(
    uninterrupted: Path, tmp_path: Path, name: str, content: bytes, sentence: str
) -> None:
    run = tmp_path / "run"
    shutil.copytree(uninterrupted, run)
    (run / name).write_bytes(content)
    result = runner.invoke(app, ["resume", str(run)])
    assert result.exit_code == 2, result.output
    assert sentence in result.output


def test_a_run_killed_right_after_a_change_on_resume_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(*tiny(tmp_path, "steps=4"))
    folder = tmp_path / "run"
    state = load_state(folder / "checkpoints" / LAST)
    before = open_run(folder)[0].digest  # as states were known by before there was a lineage
    save_checkpoint(folder / "checkpoints" / LAST, replace(state, step=2, digest=before))

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("pretrain.runs.write_config", killed)  # after the state, before the configuration
        with pytest.raises(KeyboardInterrupt):
            resume(folder, ["batch_size=2"])
    with monkeypatch.context() as patched:
        patched.setattr("pretrain.runs._train", killed)  # after both, before the first step
        with pytest.raises(KeyboardInterrupt):
            resume(folder, ["batch_size=2"])
    resume(folder)
    assert read_status(folder)["outcome"] == "finished"


def test_another_world_size_and_other_data_are_said_on_resume(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    begin(*tiny(tmp_path, "steps=2"))
    path = tmp_path / "run/checkpoints" / LAST
    state = load_state(path)
    assert state.sizes == [100_000]
    save_checkpoint(path, replace(state, world_size=4, sizes=[90_000], counts={"start_redrawn": 7}))
    resume(tmp_path / "run")
    assert "the run had 4 processes and has 1 now" in caplog.text
    assert "has 100000 samples and had 90000" in caplog.text
    assert load_state(path).counts == {"start_redrawn": 7}  # the whole run's, not the last part's


def test_a_state_of_before_these_facts_were_kept_is_read(tmp_path: Path) -> None:
    content = {"step": 1, "model": {}, "optimizer": {}, "digest": "d", "world_size": 1, "alike": 0}
    torch.save({"format": 1, "best": None, "measured": None, **content}, tmp_path / LAST)
    assert load_state(tmp_path / LAST).sizes == []


def test_a_state_of_another_configuration_is_refused(tmp_path: Path) -> None:
    begin(*tiny(tmp_path, "steps=4"))
    config = tmp_path / "run/config.yaml"
    config.write_text(config.read_text().replace("lr: 0.001", "lr: 0.002", 1))
    with pytest.raises(RunError, match="belongs to another configuration"):
        resume(tmp_path / "run")


def test_exports_load_as_backbones_with_the_runs_own_features(uninterrupted: Path, tmp_path: Path) -> None:
    own = load_backbone("tvts", export_run(uninterrupted, "safetensors", tmp_path / "deep" / "own.safetensors"))
    assert own.weights.report is not None
    assert own.weights.report.format == "tvts-bench safetensors"
    path = export_run(uninterrupted, "official", tmp_path / "official.pth")
    content = torch.load(path, weights_only=True)
    assert list(content) == ["arch", "epoch", "state_dict", "optimizer", "monitor_best", "config"]
    parts = {".".join(name.split(".")[:3]) for name in content["state_dict"] if "_proj" in name}
    assert parts == {"module.txt_proj.1", "module.vid_proj.0"}
    state = load_state(uninterrupted / "checkpoints" / LAST)
    assert set(content["state_dict"]) == {f"module.{name}" for name in state.model}
    for name, tensor in own.state_dict().items():
        assert torch.equal(tensor, state.model[name.replace("encoder.", "video_model.", 1)])


def test_retrieval_sees_the_features_of_the_training_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model as it is in memory when training ends, against the file it leaves, through the bench's extraction."""
    trained: list[Trainer[NarratedBatch]] = []
    train = Trainer.run

    def kept(self: Trainer[NarratedBatch]) -> None:
        trained.append(self)
        train(self)

    monkeypatch.setattr(Trainer, "run", kept)
    size = ("video.embed_dim=128", "video.depth=4", "video.num_heads=4", "video.patch_size=8", "video.num_frames=16")
    written = begin(*tiny(tmp_path, "steps=3", "text.dim=128", *size))
    root = write_yt_tree(tmp_path / "videos", [2, 3, 4])
    records = [VideoRecord(id=path.stem, path=path, label=0) for path in sorted(root.rglob("*.mp4"))]
    assert len(records) == 3

    backbone = load_backbone(None, written)
    runtime = Runtime(cache=tmp_path / "cache", workers=0, batch_size=2)
    clip = backbone.clip_spec
    (found,) = extract([backbone], records, "videos", clip=clip, decoder="pyav", dtype="fp32", runtime=runtime)

    model = trained[0].model.eval()
    assert isinstance(model, TVTS)
    pixels = torch.stack([load_clip(record.path, record.id, clip).pixels[0] for record in records])
    with torch.no_grad():
        own = model.video_model(normalise(pixels, IMAGENET_MEAN, IMAGENET_STD))[:, 0]  # as in a step, nothing dropped
    assert found.ids == tuple(record.id for record in records)
    torch.testing.assert_close(torch.from_numpy(found.values), own, rtol=1e-5, atol=1e-5)
    assert torch.cdist(own, own)[0, 1:].min() > 1e-3  # they differ from clip to clip


def test_what_the_official_layout_has_no_place_for_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    begin(*tiny(tmp_path, "steps=1", "text.dim=16"))
    content = torch.load(export_run(tmp_path / "run", "official", None), weights_only=True)
    assert not [name for name in content["state_dict"] if "adapter" in name]
    assert "backbone.pth lacks txt_adapter, which the official layout has no place for" in caplog.text


def test_an_official_export_is_read_as_the_official_checkpoint(tmp_path: Path) -> None:
    size = ("video.embed_dim=128", "video.depth=4", "video.num_heads=4", "video.patch_size=8", "video.num_frames=16")
    begin(*tiny(tmp_path, "steps=1", "text.dim=128", *size))
    path = export_run(tmp_path / "run", "official", None)
    backbone = load_backbone(None, path)
    assert (backbone.family, backbone.variant) == ("tvts", "tiny")
    assert backbone.weights.report is not None
    assert backbone.weights.report.format == "official TVTS training checkpoint"
    own = load_backbone(None, tmp_path / "run/backbone.safetensors")
    clips = torch.rand(2, 3, 16, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(backbone.eval()(clips), own.eval()(clips))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "scripted_motion_tny"], "unknown preset 'scripted_motion_tny' (did you mean scripted_motion_tiny"),
        (["run", "scripted_motion_tiny", "stpes=4"], "unknown key 'stpes' (did you mean steps"),
        (["run", "scripted_motion_tiny", "steps=few"], "steps must be a whole number, got 'few'"),
        (["run", "scripted_motion_tiny", "out={full}"], "is not an empty folder; give another out="),
        (["run", "yt_temporal"], "source yt_temporal needs root"),
        (
            ["run", "yt_temporal", "root={full}/no", "init.mae=null", "text.name=null", "out={new}"],
            "there is no folder",
        ),
        (["run", "scripted_motion_tiny", "init.mae=/no/mae.pth", "out={new}"], "facebookresearch/mae"),
        (["run", "yt_temporal", "root={full}/no", "out={new}"], "or init.mae=null to start without it"),
        (["run", "scripted_motion_tiny", "device=tpu", "out={new}"], "unknown device 'tpu'"),
        (["resume", "{full}"], "holds no run of tvts-pretrain"),
        (["resume", "{new}"], "holds no run of tvts-pretrain"),
        (["export", "{full}"], "holds no run of tvts-pretrain"),
        (["export", "{full}", "--format", "onnx"], "--format must be one of safetensors, official, got 'onnx'"),
    ],
)
def test_mistakes_are_one_sentence_and_exit_code_2(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a file").touch()
    places = {"full": tmp_path / "full", "new": tmp_path / "new"}
    result = runner.invoke(app, [argument.format(**places) for argument in arguments])
    assert result.exit_code == 2, result.output
    assert sentence in result.output
    assert "Traceback" not in result.output


def test_a_folder_with_a_run_is_not_begun_again(uninterrupted: Path, tmp_path: Path) -> None:
    result = runner.invoke(app, ["run", preset(tmp_path), f"out={uninterrupted}"])
    assert result.exit_code == 2
    assert f"tvts-pretrain resume {uninterrupted}" in result.output


def test_a_diverged_run_ends_with_3(tmp_path: Path) -> None:
    wild = ("lr=1e30", "optim.warmup=0", "optim.clip_grad=null", f"out={tmp_path / 'run'}", "workers=0")
    result = runner.invoke(app, ["run", preset(tmp_path), *wild])
    assert result.exit_code == 3
    assert "training failed" in result.output
    assert read_status(tmp_path / "run")["outcome"] == "failed"


def test_presets_are_listed_with_their_lines() -> None:
    result = runner.invoke(app, ["presets"])
    assert result.exit_code == 0
    assert "scripted_motion_tiny" in result.output
    assert "two CPU cores" in result.output


def test_help_needs_nothing_heavy() -> None:
    code = "import sys, pretrain.cli; print([n for n in ('torch', 'transformers', 'pandas', 'av') if n in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def a_state(step: int) -> State:
    return State(step=step, model={"w": torch.ones(3)}, optimizer={}, digest="d", world_size=1)


def test_a_full_disk_leaves_the_state_before(tmp_path: Path) -> None:
    path = tmp_path / BEST
    save_checkpoint(path, a_state(1))
    with files_no_longer_than(1000), pytest.raises(TrainingStateError) as full:
        save_checkpoint(path, a_state(2))
    assert str(full.value) == f"cannot write {path}: File too large; the state saved before stays in {path}"
    assert load_state(path).step == 1
    assert [each.name for each in tmp_path.iterdir()] == [BEST]


def test_a_disk_that_is_full_for_a_while_stops_no_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the end, where the state has to be written: then the one before is what is left."""
    save, sizes = Trainer.save, [None, 1000, 1000, 1000]

    def short_of_space(self: Trainer[Any], *, required: bool) -> None:
        size = sizes.pop(0)
        with files_no_longer_than(size) if size else nullcontext():
            save(self, required=required)

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "save", short_of_space)
        with pytest.raises(TrainingStateError, match=r"last\.pt: File too large; the state saved before stays"):
            begin(*tiny(tmp_path, "steps=4", "checkpoint.every_steps=1"))
    assert caplog.text.count("training goes on") == 2
    assert load_state(tmp_path / "run/checkpoints" / LAST).step == 1
    assert read_status(tmp_path / "run")["outcome"] == "failed"
    resume(tmp_path / "run")
    assert read_status(tmp_path / "run")["outcome"] == "finished"


def test_a_disk_that_is_full_from_the_start_ends_a_run_at_its_first_state(tmp_path: Path) -> None:
    """Not after the last step, when nothing of it could be kept."""
    begin(*tiny(tmp_path, "steps=1"))
    size = (tmp_path / "run/checkpoints" / LAST).stat().st_size
    with files_no_longer_than(size // 2), pytest.raises(TrainingStateError, match=r"last\.pt: File too large"):
        begin(*tiny(tmp_path / "full", "steps=9", "checkpoint.every_steps=2"))
    status = read_status(tmp_path / "full/run")
    assert (status["outcome"], status["step"]) == ("failed", 2)
    resume(tmp_path / "full/run")
    assert read_status(tmp_path / "full/run")["outcome"] == "finished"


def test_what_killed_runs_left_of_their_states_is_removed_by_the_next(tmp_path: Path) -> None:
    begin(*tiny(tmp_path, "steps=1"))
    folder = tmp_path / "run/checkpoints"
    dead = subprocess.Popen(["true"])
    dead.wait()
    left = [folder / f".last.pt.{platform.node()}.{dead.pid}.tmp", folder / ".last.pt.another-node.7.tmp"]
    for path in left:
        path.write_bytes(b"half of a state")
    (folder / ".mine.tmp").write_bytes(b"another's")
    resume(tmp_path / "run")
    assert {path.name for path in folder.iterdir()} == {LAST, ".mine.tmp"}


def test_files_that_are_no_state_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingStateError, match="there is no state"):
        load_state(tmp_path / LAST)
    (tmp_path / "text").write_text("hello")
    with pytest.raises(TrainingStateError, match="not a readable state"):
        load_state(tmp_path / "text")
    torch.save({"state_dict": {}}, tmp_path / "other")
    with pytest.raises(TrainingStateError, match="not a state that this version"):
        load_state(tmp_path / "other")


def test_ctrl_c_before_the_first_step_names_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def impatient(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pretrain.runs.build_sources", impatient)
    out = tmp_path / "run"
    result = runner.invoke(app, ["run", preset(tmp_path), f"out={out}", "steps=1"])
    assert result.exit_code == 130
    assert f"go on from what was saved with: tvts-pretrain resume {out}" in " ".join(result.output.split())
    assert read_status(out)["outcome"] == "interrupted"
    monkeypatch.undo()
    assert runner.invoke(app, ["resume", str(out)]).exit_code == 0
