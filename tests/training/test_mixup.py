"""What is mixed is what the labels say; on the paper's axes it is not."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tvts_bench import torchvision_ops  # noqa: F401 - before timm
from tvts_bench.errors import UserError
from tvts_bench.training.mixup import mix
from tvts_bench.training.recipe import ALPHAS, UNMIXED, MixConfig

from timm.data.mixup import Mixup  # isort: skip

CUT = MixConfig(mixup=0.0, cutmix=1.0, smoothing=0.0)
BLEND = MixConfig(mixup=0.8, cutmix=0.0, smoothing=0.0)


def constant_clips(batch: int, frames: int = 4, height: int = 12, width: int = 20) -> Tensor:
    """Clip b is b everywhere: [B, 3, T, H, W]."""
    return torch.arange(batch, dtype=torch.float32).view(-1, 1, 1, 1, 1).repeat(1, 3, frames, height, width)


@settings(max_examples=100, deadline=None)
@given(batch=st.sampled_from([2, 4, 6]), seed=st.integers(0, 2**64 - 1))
def test_a_box_is_the_same_in_every_frame_and_its_area_is_the_labels_share(batch: int, seed: int) -> None:
    clips, targets = mix(constant_clips(batch), torch.arange(batch), CUT, batch, seed)
    for own in range(batch):
        other = batch - 1 - own
        pasted = clips[own] == other  # [3, T, H, W]
        assert ((clips[own] == own) | pasted).all()
        assert (pasted == pasted[:1, :1]).all()  # one box for all channels and frames
        area = pasted[0, 0]
        rows, columns = area.any(1), area.any(0)
        assert (area == rows[:, None] & columns[None]).all()  # a rectangle ...
        assert max(int(rows.diff().sum()), int(columns.diff().sum())) <= 2  # ... without holes
        assert targets[own, other].item() == pytest.approx(area.float().mean().item(), abs=1e-6)
        assert targets[own, own].item() == pytest.approx(1 - area.float().mean().item(), abs=1e-6)


def test_boxes_of_all_sizes_are_drawn() -> None:
    shares = [mix(constant_clips(2), torch.arange(2), CUT, 2, seed)[1][0, 1].item() for seed in range(100)]
    assert min(shares) < 0.05
    assert max(shares) > 0.6


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**64 - 1))
def test_mixup_blends_clips_as_it_blends_labels(seed: int) -> None:
    clips, targets = mix(constant_clips(4), torch.arange(4), BLEND, 4, seed)
    for own in range(4):
        blend = own * targets[own, own] + (3 - own) * targets[own, 3 - own]
        assert torch.allclose(clips[own], blend.expand_as(clips[own]), atol=1e-5)


@settings(max_examples=100, deadline=None)
@given(
    config=st.builds(
        MixConfig,
        mixup=st.just(0.0) | st.floats(*ALPHAS),
        cutmix=st.just(0.0) | st.floats(*ALPHAS),
        prob=st.floats(0, 1),
        switch_prob=st.floats(0, 1),
        smoothing=st.floats(0, 0.9),
        cutmix_axes=st.sampled_from(["space", "paper"]),
    ),
    labels=st.lists(st.integers(0, 6), min_size=0, max_size=7),
    seed=st.integers(0, 2**64 - 1),
)
def test_targets_sum_to_one_whatever_the_batch(config: MixConfig, labels: list[int], seed: int) -> None:
    clips, targets = mix(constant_clips(len(labels)), torch.tensor(labels, dtype=torch.int64), config, 7, seed)
    assert clips.shape == (len(labels), 3, 4, 12, 20)
    assert targets.shape == (len(labels), 7)
    assert targets.dtype == torch.float32
    assert (targets >= 0).all()
    assert torch.allclose(targets.sum(1), torch.ones(len(labels)), atol=1e-5)


def test_smoothing_by_hand() -> None:
    clips, targets = mix(constant_clips(2), torch.tensor([0, 3]), MixConfig(prob=0.0), 5, seed=0)
    assert torch.equal(clips, constant_clips(2))
    assert targets[0].tolist() == pytest.approx([0.92, 0.02, 0.02, 0.02, 0.02])
    assert targets[1].tolist() == pytest.approx([0.02, 0.02, 0.02, 0.92, 0.02])
    assert mix(constant_clips(2), torch.tensor([0, 3]), UNMIXED, 5, seed=0)[1].tolist() == [
        [1, 0, 0, 0, 0],
        [0, 0, 0, 1, 0],
    ]


@pytest.mark.parametrize("config", [CUT, BLEND])
def test_in_an_odd_batch_the_middle_clip_stays_and_the_others_are_mixed(config: MixConfig) -> None:
    odd, targets = mix(constant_clips(5), torch.arange(5), config, 5, seed=1)
    assert torch.allclose(odd[2], torch.full_like(odd[2], 2.0))
    assert targets[2].tolist() == pytest.approx([0, 0, 1, 0, 0])
    pairs = constant_clips(5)[[0, 1, 3, 4]]  # the same pairs without the middle
    even, even_targets = mix(pairs, torch.tensor([0, 1, 3, 4]), config, 5, seed=1)
    assert torch.equal(odd[[0, 1, 3, 4]], even)
    assert torch.equal(targets[[0, 1, 3, 4]], even_targets)
    alone, target = mix(constant_clips(1) + 7, torch.tensor([3]), config, 5, seed=1)
    assert torch.allclose(alone, torch.full_like(alone, 7.0))
    assert target.tolist() == [pytest.approx([0, 0, 0, 1, 0])]


def test_a_batch_is_known_from_its_seed_and_nothing_else_notices() -> None:
    first = mix(constant_clips(4), torch.arange(4), MixConfig(), 4, seed=2**63)
    np.random.seed(1)  # noqa: NPY002
    expected = np.random.random(3).tolist()  # noqa: NPY002
    np.random.seed(1)  # noqa: NPY002
    again = mix(constant_clips(4), torch.arange(4), MixConfig(), 4, seed=2**63)
    assert np.random.random(3).tolist() == expected  # noqa: NPY002
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    others = [mix(constant_clips(4), torch.arange(4), MixConfig(), 4, seed=2**63 + 2**32 * n)[1] for n in (1, 2)]
    assert not any(torch.equal(first[1], other) for other in others)  # the upper half of a seed counts, too


def test_mixup_and_cutmix_take_turns_and_some_batches_are_left_alone() -> None:
    config = MixConfig(prob=0.8, switch_prob=0.25, smoothing=0.0)
    kinds = {"alone": 0, "cut": 0, "blended": 0}
    for seed in range(400):
        clips, targets = mix(constant_clips(2), torch.arange(2), config, 2, seed)
        whole = bool((clips == clips.round()).all())
        kinds["alone" if targets[0, 0] == 1 else "cut" if whole else "blended"] += 1
    assert 50 <= kinds["alone"] <= 115  # 80 expected, and a few boxes are empty; deviation 8
    assert 50 <= kinds["cut"] <= 110  # 80 expected
    assert 200 <= kinds["blended"] <= 280  # 240 expected


def test_the_papers_axes_are_timms_on_clips_and_mostly_change_no_pixel() -> None:
    paper = MixConfig(mixup=0.0, smoothing=0.0, cutmix_axes="paper")
    timm = Mixup(mixup_alpha=0.0, cutmix_alpha=1.0, label_smoothing=0.0, num_classes=2)
    unchanged = 0
    for seed in range(200):
        batch = constant_clips(2, frames=16, height=224, width=224)[:, :1]
        clips, targets = mix(batch.clone(), torch.arange(2), paper, 2, seed)
        np.random.seed([seed, 0])  # noqa: NPY002
        theirs, their_targets = timm(batch.clone(), torch.arange(2))
        assert torch.equal(clips, theirs)
        assert torch.equal(targets, their_targets)
        assert (clips == clips[..., :1]).all()  # whatever was cut is as wide as the frame: time x height
        unchanged += torch.equal(clips, batch) and targets[0, 1].item() > 0.01
    assert 0.5 < unchanged / 200 < 0.7


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"mixup": -0.1}, "-0.1"),
        ({"mixup": 5e-324}, "5e-324"),
        ({"cutmix": float("inf")}, "inf"),
        ({"cutmix": float("nan")}, "nan"),
        ({"prob": 1.1}, "1.1"),
        ({"smoothing": 1.0}, "1.0"),
        ({"cutmix_axes": "time"}, "'time'"),
    ],
)
def test_nonsense_is_refused(bad: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        MixConfig(**bad)  # type: ignore[arg-type]
