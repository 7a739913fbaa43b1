"""What it costs to know that a result still holds: processor time a file, beside a bare loop of `os.stat`.

python benchmarks/reuse.py [--files 20000] [--rounds 5]
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tvts_bench.datasets.base import Dataset, DatasetInfo, VideoRecord
from tvts_bench.metrics.measured import Metric, SplitCoverage
from tvts_bench.results import Result, Run
from tvts_bench.results.index import ReuseCheck
from tvts_bench.snapshot import file_signatures, snapshot


def dataset(root: Path, files: int) -> Dataset:
    """As many small files, a hundred in a folder."""
    records = []
    for number in range(files):
        path = root / f"{number // 100:04d}" / f"{number:06d}.mp4"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"video")
        records.append(VideoRecord(id=f"{number:06d}.mp4", path=path, label=number % 10))
    info = DatasetInfo(
        title="-",
        splits=("val",),
        default_split="val",
        num_classes=10,
        official_sizes={},
        url="-",
        license="-",
        layout="-",
    )
    return Dataset(
        name="many",
        root=root,
        class_names=tuple("0123456789"),
        info=info,
        readers={"val": lambda: tuple(records)},
    )


def result_on(data: Dataset) -> Result:
    """A result of every file as it is now."""
    listed = len(data.records("val"))
    coverage = SplitCoverage(
        split="val",
        fingerprint=data.fingerprint("val"),
        listed=listed,
        used=listed,
        failed={},
        files=snapshot(file_signatures(data.files("val"))),
    )
    run = Run(evaluator={}, backbone={}, dataset={}, decoder="-")
    return Result(run=run, metrics=(Metric(name="R@1", value=1.0),), coverage=(coverage,), provenance={})


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = dataset(Path(folder), options.files)
        result = result_on(data)
        paths = [record.path for record in data.records("val")]
        ways: dict[str, Callable[[], object]] = {
            "os.stat": lambda: [os.stat(path) for path in paths],  # noqa: PTH116 - what is compared with
            "reuse check": lambda: ReuseCheck().difference(result, data),
        }
        assert ReuseCheck().difference(result, data) is None
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(options.rounds):  # in turns: other processes disturb both alike
            for name, work in ways.items():
                times[name].append(1e6 * seconds(work) / options.files)
    for name, measured in times.items():
        print(f"{name}: {statistics.median(measured):.1f} us a file (best {min(measured):.1f})")


if __name__ == "__main__":
    main()
