"""Run by torchrun: `OUT` trains one epoch on this rank; the first rank keeps the weights."""

import sys
from dataclasses import replace
from pathlib import Path

import torch

from tests.training.supervised_world import RECIPE, train, write_records
from tvts_bench.training.mixing import UNMIXED
from tvts_bench.training.ranks import joined


def main(out: Path) -> None:
    """Two trainings: one that draws everything there is, one that draws nothing but clips."""
    drawn = replace(RECIPE, epochs=1, warmup_epochs=0.0)
    steady = replace(drawn, mix=UNMIXED, drop_path=0.0)
    with joined("cpu") as rank:
        records = write_records(out / f"videos-{rank.rank}")
        for name, recipe in (("drawn", drawn), ("steady", steady)):
            model, _ = train(records, out / f"two-{name}", recipe, rank=rank)
            if rank.is_first:
                torch.save(model.state_dict(), out / f"{name}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
