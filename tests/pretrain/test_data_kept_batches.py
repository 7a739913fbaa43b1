"""Samples kept for other runs: the same batches, made once, and never those of another seed or another world."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from pretrain.assembly import build_loader, build_sources, build_tokenizer
from pretrain.config import compose
from pretrain.data.loading import Made, NarratedBatch, NarratedLoader
from pretrain.data.sample_cache import KeptBatches
from tvts_bench.distributed import Rank
from tvts_bench.errors import UserError

SMALL = ("data.batch_size=4", "objective.segments=2")


def loader(samples: Path | None, *settings: str) -> NarratedLoader:
    config, launch = compose("scripted_motion_mini", [*SMALL, *settings])
    sources = build_sources(config, launch.cache)
    return build_loader(config, sources, build_tokenizer(config, sources), Rank(), 0, samples)


def equal(one: NarratedBatch, other: NarratedBatch) -> bool:
    tensors = ("clips", "input_ids", "attention_mask", "segments", "seeds")
    return one.ids == other.ids and all(torch.equal(getattr(one, name), getattr(other, name)) for name in tensors)


def test_kept_batches_are_those_that_are_drawn(tmp_path: Path) -> None:
    drawn, first, again = loader(None), loader(tmp_path), loader(tmp_path)
    expected = list(drawn.batches(0, 3))
    for each in (first, again):
        assert all(map(equal, expected, each.batches(0, 3)))
        assert each.counts == drawn.counts
    files = sorted(tmp_path.glob("*/*.safetensors"))
    assert [path.name for path in files] == ["0000000.safetensors", "0000001.safetensors", "0000002.safetensors"]


def test_they_are_read_not_drawn_again(tmp_path: Path) -> None:
    zero, one = loader(tmp_path).batches(0, 2)
    first, second = sorted(tmp_path.glob("*/*"))
    first.write_bytes(second.read_bytes())
    (found,) = loader(tmp_path).batches(0, 1)
    assert equal(found, one)
    assert not equal(found, zero)


@pytest.mark.parametrize("change", ["seed=1", "data.lengths=[2.0]", "data.crop.flip=0.5", "data.batch_size=8"])
def test_other_samples_lie_elsewhere(tmp_path: Path, change: str) -> None:
    kept, other = loader(tmp_path), loader(tmp_path, change)
    list(kept.batches(0, 1))
    (found,) = other.batches(0, 1)
    (expected,) = loader(None, change).batches(0, 1)
    assert equal(found, expected)
    assert len(list(tmp_path.iterdir())) == 2


def test_rows_of_a_grid_share_them(tmp_path: Path) -> None:
    for settings in (("objective.sort=none",), ("objective.sort=factorial", "objective.target=vcop")):
        list(loader(tmp_path, *settings).batches(0, 1))
    assert len(list(tmp_path.iterdir())) == 1


def test_a_batch_with_a_sample_in_anothers_place_is_not_kept(tmp_path: Path) -> None:
    (batch,) = loader(None).batches(0, 1)
    made = [Made(batch=batch, failures=("a.mp4 cannot be read",)), Made(batch=batch)]
    kept = KeptBatches(made, tmp_path)  # type: ignore[arg-type]  # a list of them is read as a data set is
    assert kept[0].failures == kept[0].failures == ("a.mp4 cannot be read",)
    assert kept[1].failures == ()
    assert [path.name for path in tmp_path.iterdir()] == ["0000001.safetensors"]


def test_a_damaged_file_is_made_again(tmp_path: Path) -> None:
    (expected,) = loader(tmp_path).batches(0, 1)
    (path,) = tmp_path.glob("*/*")
    whole = path.read_bytes()
    for damaged in (whole[:200], b"", b"not a file of tensors"):
        path.write_bytes(damaged)
        (found,) = loader(tmp_path).batches(0, 1)
        assert equal(found, expected)
        assert path.stat().st_size == len(whole)


def test_a_foreign_file_of_tensors_is_made_again(tmp_path: Path) -> None:
    (expected,) = loader(tmp_path).batches(0, 1)
    (path,) = tmp_path.glob("*/*")
    with safe_open(path, "pt") as file:
        said, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for foreign, words in (
        ({**tensors, "clips": tensors["clips"][:, :, 0].clone()}, said),
        ({**tensors, "segments": tensors["segments"][1:].clone()}, said),
        (tensors, {**said, "ids": "{"}),
        (tensors, None),
        ({"clips": tensors["clips"]}, said),
    ):
        save_file(foreign, path, words)
        (found,) = loader(tmp_path).batches(0, 1)
        assert equal(found, expected)


def test_what_is_read_from_files_is_not_kept(tmp_path: Path) -> None:
    images = tmp_path / "images" / "0"
    images.mkdir(parents=True)
    for number in range(4):
        Image.new("RGB", (40, 40), (number * 60,) * 3).save(images / f"{number}.png")
        (images / f"{number}.txt").write_text(f"picture {number}")
    captions = f"data.sources=[{{kind: cc3m, root: {images.parent}, frames: 1}}]"
    with pytest.raises(UserError, match="keeps what is drawn, and cc3m is read from files: leave it out"):
        loader(tmp_path / "kept", captions, "objective.sort=none", f"cache={tmp_path / 'cache'}")


def test_a_place_that_cannot_be_written_is_told_before_anything_is_drawn(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match=r"cannot keep samples in .*file.*: give another samples=, or leave it out"):
        loader(tmp_path / "file" / "samples")
