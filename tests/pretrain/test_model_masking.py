"""What the network is shown: kept patches, orders, and pieces that do not tell their place."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pretrain.model.masking import Pieces, kept_patches, kept_per_tubelet


@given(
    spatial=st.integers(1, 64),
    mask=st.sampled_from([0.1, 0.25, 0.5, 0.7, 0.75, 0.9]),
    tubelets=st.integers(1, 8),
    seed=st.integers(0, 99),
)
def test_every_tubelet_keeps_the_same_number_of_its_own_patches(
    spatial: int, mask: float, tubelets: int, seed: int
) -> None:
    kept = kept_per_tubelet(spatial, mask)
    keep = kept_patches(3, tubelets, spatial, mask, torch.Generator().manual_seed(seed))
    assert keep is not None
    assert keep.shape == (3, tubelets * kept)
    rows = keep.reshape(3, tubelets, kept)
    assert torch.equal(rows // spatial, torch.arange(tubelets)[:, None].expand(3, tubelets, kept))
    assert (rows.diff(dim=-1) > 0).all()  # ascending, so none twice


def test_counts_of_the_paper_and_where_binary_fractions_fall_short() -> None:
    assert kept_per_tubelet(196, 0.75) == 49
    assert kept_per_tubelet(10, 0.9) == 1
    assert kept_per_tubelet(64, 0.9) == 6


def test_the_choice_differs_between_tubelets_and_clips_and_follows_the_generator() -> None:
    draws = [kept_patches(2, 8, 196, 0.75, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert draws[0] is not None
    assert draws[1] is not None
    assert draws[2] is not None
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    choices = {tuple(row) for row in (draws[0].reshape(16, 49) % 196).tolist()}
    assert len(choices) == 16


def test_every_patch_is_kept_equally_often() -> None:
    keep = kept_patches(4000, 1, 4, 0.5, torch.Generator().manual_seed(0))
    assert keep is not None
    counts = keep.flatten().bincount().float() / 4000  # expected 0.5, deviation 0.008
    assert (counts - 0.5).abs().max() < 0.04


def test_mask_zero_keeps_all() -> None:
    assert kept_patches(2, 3, 4, 0.0, torch.Generator()) is None


def test_pieces_are_equally_long_where_tubelets_do_not_divide() -> None:
    assert Pieces.of(8, 4) == Pieces(count=4, length=2, starts=(0, 2, 4, 6))
    assert Pieces.of(8, 3) == Pieces(count=3, length=2, starts=(0, 2, 5))
    assert Pieces.of(8, 5) == Pieces(count=5, length=1, starts=(0, 1, 3, 4, 6))


@given(tubelets=st.integers(1, 32), data=st.data())
def test_pieces_lie_in_order_inside_the_clip_without_overlap(tubelets: int, data: st.DataObject) -> None:
    pieces = Pieces.of(tubelets, data.draw(st.integers(1, tubelets)))
    ends = [start + pieces.length for start in pieces.starts]
    assert pieces.starts[0] == 0
    assert ends[-1] <= tubelets
    assert all(end <= start for end, start in zip(ends, pieces.starts[1:], strict=False))


def test_cut_takes_the_frames_of_each_piece() -> None:
    clips = torch.arange(2 * 16).reshape(2, 1, 16, 1, 1).expand(2, 3, 16, 1, 1)
    cut = Pieces.of(8, 3).cut(clips, tubelet=2)
    assert cut.shape == (6, 3, 4, 1, 1)
    assert cut[:3, 0, :, 0, 0].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [10, 11, 12, 13]]
    assert cut[3, 2, :, 0, 0].tolist() == [16, 17, 18, 19]


def test_more_pieces_than_tubelets_is_a_bug() -> None:
    with pytest.raises(AssertionError):
        Pieces.of(3, 4)
