"""Run by torchrun: `OUT` trains one epoch on this rank; the first rank keeps the weights, each what it measured."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from tests.support.supervised_world import RECIPE, Normed, train, write_records
from tvts_bench.distributed import init_distributed
from tvts_bench.errors import UserError
from tvts_bench.training.recipe import UNMIXED


def main(out: Path) -> None:
    """Two trainings: one that draws everything there is, one that draws nothing but clips; and one of a batch norm."""
    drawn = replace(RECIPE, epochs=1, warmup_epochs=0.0)
    steady = replace(drawn, mix=UNMIXED, drop_path=0.0)
    with init_distributed("cpu") as rank:
        records = write_records(out / f"videos-{rank.rank}")
        for name, recipe in (("drawn", drawn), ("steady", steady)):
            model, _ = train(records, out / f"two-{name}", recipe, rank=rank)
            if rank.is_first:
                torch.save(model.state_dict(), out / f"{name}.pt")
        means: dict[str, Tensor] = {}

        def measure(model: nn.Module) -> Mapping[str, float]:
            means["measured"] = model.get_buffer("backbone.norm.running_mean").clone()
            return {"top_1": 50.0, "loss": 1.0}

        plain = replace(steady, layer_decay=1.0, ema=None)
        for name, looks in (("chosen", measure), ("last", None)):
            model, _ = train(
                records, out / f"normed-{name}", plain, rank=rank, backbone=Normed(nn.BatchNorm3d(3)), measure=looks
            )
            means[name] = model.get_buffer("backbone.norm.running_mean")
        torch.save(means, out / f"normed-{rank.rank}.pt")
        idle = Normed(nn.BatchNorm3d(3))
        idle.unused = nn.Linear(3, 3)
        try:
            train(records, out / "idle", plain, rank=rank, backbone=idle)
        except UserError as error:
            (out / f"idle-{rank.rank}.txt").write_text(str(error))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
