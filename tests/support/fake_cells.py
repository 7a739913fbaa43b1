"""Cells of fake commands; run as a module, a launcher of them that can be killed.

python -m tests.support.fake_cells OUT CELLS STEPS SECONDS_A_STEP
"""

import json
import sys
from pathlib import Path
from typing import Any

from tests.support import fake_command
from tvts_bench.ablations.commands import BACKBONE, RUN, STATE, Stage
from tvts_bench.ablations.jobs import CellJob, never
from tvts_bench.ablations.local import Slots, run_local
from tvts_bench.results.grids import PRETRAIN, cell_folder

PROGRAM = (sys.executable, "-I", "-S", fake_command.__file__)
RESULT = "results/measure/result.json"


def fake_cell(out: Path, key: str, steps: int = 3, pause: float = 0.0, ending: str = "", **changes: Any) -> CellJob:
    """A cell that trains `steps` steps and is measured once."""
    folder = cell_folder(out, key)
    train = (*PROGRAM, "train", str(folder / RUN), str(steps), str(pause), ending)
    stages = (
        Stage(
            name=PRETRAIN,
            protocol=PRETRAIN,
            command=train,
            resumed=train,
            state=STATE,
            discard=RUN,
            produces=BACKBONE,
            needed=True,
        ),
        Stage(
            name="measure",
            protocol="retrieval",
            dataset="ssv2",
            command=(*PROGRAM, "measure", str(folder / BACKBONE), str(folder / "results/measure")),
            produces="results/measure/*.json",
        ),
    )
    return CellJob(out=out, key=key, config={"steps": steps}, seed=0, stages=stages, **{"grace": 5.0, **changes})


def expected(steps: int) -> dict[str, str]:
    """The result of a cell that trained so many steps, each once."""
    value = ""
    for step in range(1, steps + 1):
        value = fake_command.after(value, step)
    return {"of": value}


def result(job: CellJob) -> dict[str, str]:
    """What the evaluation of a cell wrote."""
    found: dict[str, str] = json.loads((job.folder / RESULT).read_text())
    return found


def steps_trained(job: CellJob) -> list[int]:
    """Every step that any process trained, in the order of time."""
    return [int(line) for line in (job.folder / "trace.txt").read_text().split()]


if __name__ == "__main__":
    out, cells, steps, pause = sys.argv[1:]
    jobs = [fake_cell(Path(out), f"cell{number}", int(steps), float(pause)) for number in range(int(cells))]
    run_local(jobs, Slots(count=2, threads=1), never)
