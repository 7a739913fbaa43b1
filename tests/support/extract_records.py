"""A program that extracts features of the small world: started, killed and run under torchrun by the tests."""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.support.feature_world import HangingPath, Linear, make_records, run
from tvts_bench.distributed import distributed_runtime
from tvts_bench.runtime import Runtime


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=150)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--hang", type=int, help="number of the record whose file hangs")
    arguments = parser.parse_args()
    records = list(make_records(arguments.folder / "videos", arguments.count))
    if arguments.hang is not None:
        records[arguments.hang] = replace(records[arguments.hang], path=HangingPath(records[arguments.hang].path))
    backbone = Linear()
    with distributed_runtime(Runtime(workers=arguments.workers, cache=arguments.folder / "cache")) as runtime:
        features = run(backbone, records, runtime)
    np.save(arguments.folder / f"rank{runtime.rank}.npy", features.values)
    facts = {"embedded": backbone.clips, "computed": features.computed, "ids": features.ids}
    (arguments.folder / f"rank{runtime.rank}.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main()
