"""N processes with batch B take the step of one process with batch N * B: real processes, gloo, the whole model."""

import multiprocessing
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import start_processes

from pretrain.model.masking import Presentation
from pretrain.model.text import TextConfig, TextTokenizer
from pretrain.model.tvts import TVTS, TVTSConfig
from pretrain.objectives.config import ObjectiveConfig
from pretrain.objectives.losses import step_loss
from tvts_bench.distributed import all_gather_rows, all_reduce_sum, rank_and_size
from tvts_bench.models.vit import VideoTransformerConfig

SAMPLES = 6  # of the global batch: 2 x 3 and 3 x 2
SEGMENTS = torch.tensor([3, 3, 1, 1, 1, 3])  # captions, spread unevenly: with three ranks one has nothing to sort


def model() -> TVTS:
    config = TVTSConfig(
        video=VideoTransformerConfig(embed_dim=12, depth=1, num_heads=2, image_size=4, patch_size=2, num_frames=4),
        text=TextConfig(name=None, max_tokens=3, dim=12, depth=1, num_heads=2, dropout=0.0),
        objective=ObjectiveConfig(segments=3, stop_gradient=False),
        projection_dim=6,
        mask=0.5,
    )
    return TVTS.seeded(config, TextTokenizer.from_corpus(["one two three four"], max_tokens=3), seed=0).double()


def step(network: nn.Module, rows: slice) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Loss of rows of the global batch, and the gradients by official names."""
    generator = torch.Generator().manual_seed(0)
    clips = torch.randn(SAMPLES, 3, 4, 4, 4, generator=generator, dtype=torch.float64)
    ids = torch.randint(4, 8, (SAMPLES, 3, 3), generator=generator)
    inner = network.module if isinstance(network, nn.parallel.DistributedDataParallel) else network
    assert isinstance(inner, TVTS)
    shown = inner.present(SAMPLES, 4, generator)
    assert shown.keep is not None
    part = Presentation(keep=shown.keep[rows])
    output = network(clips[rows], ids[rows], torch.ones_like(ids[rows]), SEGMENTS[rows], part)
    loss = step_loss(output, SEGMENTS[rows], inner.config.objective)
    loss["loss"].backward()
    return loss, {name: p.grad for name, p in inner.named_parameters() if p.grad is not None}


def one_of(rank: int, size: int, folder: str) -> None:
    """One process of `size`; leaves what it found for the test to read."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet{size}", rank=rank, world_size=size)
    assert rank_and_size() == (rank, size)
    each = SAMPLES // size
    loss, gradients = step(nn.parallel.DistributedDataParallel(model()), slice(rank * each, (rank + 1) * each))
    means = {name: all_reduce_sum(value) / size for name, value in numbers(loss).items()}
    torch.save(
        {"gradients": gradients, "means": means, "sorted": loss["sorted_samples"]}, f"{folder}/{rank}of{size}.pt"
    )
    dist.destroy_process_group()


def work(rank: int, folder: str) -> None:
    """The same three processes are a world of three and then, without the last, a world of two."""
    torch.set_num_threads(1)
    one_of(rank, 3, folder)
    if rank < 2:
        one_of(rank, 2, folder)


def numbers(loss: dict[str, Tensor]) -> dict[str, Tensor]:
    """All that is logged of a step."""
    assert {"base", "sort"} < loss.keys()
    return {name: value.detach() for name, value in loss.items() if name != "sorted_samples"}


@pytest.fixture(scope="module")
def found_by_ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    multiprocessing.set_forkserver_preload(
        ["pretrain.model.tvts", "transformers.models.distilbert.modeling_distilbert"]
    )
    start_processes(work, args=(str(folder),), nprocs=3, start_method="forkserver")
    return folder


@pytest.mark.parametrize("size", [2, 3])
def test_many_processes_compute_the_gradient_of_one(size: int, found_by_ranks: Path) -> None:
    loss, expected = step(model(), slice(None))
    matrices = [gradient for gradient in expected.values() if gradient.ndim > 1]
    assert min(float(gradient.abs().max()) for gradient in matrices) > 1e-4  # there is something to compare
    for rank in range(size):
        found = torch.load(found_by_ranks / f"{rank}of{size}.pt")
        assert found["gradients"].keys() == expected.keys()
        worst = max(float((found["gradients"][name] - gradient).abs().max()) for name, gradient in expected.items())
        assert worst < 1e-9
        assert float(found["sorted"]) == float(loss["sorted_samples"]) == 3
        assert {name: float(value) for name, value in found["means"].items()} == pytest.approx(
            {name: float(value) for name, value in numbers(loss).items()}, rel=1e-6
        )


def test_one_process_gathers_its_own_rows() -> None:
    rows = torch.randn(2, 3, requires_grad=True)
    assert rank_and_size() == (0, 1)
    assert all_gather_rows(rows) is rows
    assert torch.equal(all_reduce_sum(rows), rows)
    assert not all_reduce_sum(rows).requires_grad
