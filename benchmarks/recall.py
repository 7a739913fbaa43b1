"""Recall@1/5/10 by leave-one-out on random features of 768 dimensions: ours against the dense computation.

    python benchmarks/recall.py            three rounds, about two minutes on two idle cores
    python benchmarks/recall.py --large    also 240,000 clips, about a minute more

The peer does what the official code does: all N x N similarities, the diagonal overwritten, every row fully sorted by
numpy. Since 1.25 numpy sorts with AVX-512 where the processor has it, several times as fast, so the peer runs twice: as
installed, and with such instructions denied to numpy (not to its BLAS), which is how earlier versions sorted.
The product is the bare float32 matrix product that any exact search needs, in blocks, without any selection. Every case
runs in a process of its own; peers and ours take turns, and the best time of all rounds counts. Memory is the peak
resident size of the process (as a whole, and beyond what it held before the search: interpreter, libraries, features).
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TypedDict

WIDTH = 768
KS = (1, 5, 10)
CLASSES = 174  # SSV2's
DENSE_SIZE = 10_000  # clips that the dense computation can hold
SSV2_SIZE = 24_777  # clips of SSV2's validation split
LARGEST_CLASS = 529  # neighbours that mAP@R needs there
LARGE_SIZE = 240_000  # clips of Kinetics-400's training split
LARGE_QUERIES = 4_000  # of those, searched; the time for all is extrapolated
BLOCK = 2048  # rows a block of the bare product


class Measured(TypedDict):
    """What one process found."""

    seconds: float
    total_gb: float  # peak resident memory
    added_gb: float  # of that, beyond what was resident before
    recall: dict[str, float]


def peer(size: int) -> Callable[[], dict[int, float]]:
    """The dense computation over `size` clips."""
    import numpy as np

    features, labels = _features(size)

    def run() -> dict[int, float]:
        rows = features / np.linalg.norm(features, axis=1, keepdims=True)
        similarities = rows @ rows.T
        np.fill_diagonal(similarities, -1000)
        order = np.argsort(-similarities, axis=1)
        hits = labels[order[:, : max(KS)]] == labels[:, None]
        return {k: 100 * float(hits[:, :k].any(axis=1).mean()) for k in KS}

    return run


def ours(size: int, k: int = max(KS), queries: int | None = None) -> Callable[[], dict[int, float]]:
    """Our search for `k` neighbours over `size` clips, of all of them or only of the first `queries`."""
    import faiss  # noqa: F401  so that its libraries count as held before the search

    from tvts_bench.metrics.retrieval import recall_at_k
    from tvts_bench.neighbors import EmbeddingSet, nearest

    features, labels = _features(size)
    gallery = EmbeddingSet(ids=[f"{i:06d}" for i in range(size)], values=features)
    asked = gallery if queries is None else EmbeddingSet(ids=gallery.ids[:queries], values=features[:queries])

    def run() -> dict[int, float]:
        found = nearest(asked, gallery, k)
        return recall_at_k(found.indices, labels[: len(asked.ids)], labels, KS)

    return run


def product(size: int) -> Callable[[], dict[int, float]]:
    """The float32 products of all pairs of `size` clips, each block thrown away."""
    import numpy as np

    features, _ = _features(size)
    scores = np.empty((BLOCK, size), dtype=np.float32)

    def run() -> dict[int, float]:
        for start in range(0, size, BLOCK):
            rows = features[start : start + BLOCK]
            np.matmul(rows, features.T, out=scores[: len(rows)])
        return {}

    return run


def _features(size: int):  # type: ignore[no-untyped-def]  # numpy is imported by the measured processes only
    import numpy as np

    rng = np.random.default_rng(0)
    return rng.standard_normal((size, WIDTH), dtype=np.float32), rng.integers(CLASSES, size=size)


CASES: dict[str, Callable[[], Callable[[], dict[int, float]]]] = {
    "peer": lambda: peer(DENSE_SIZE),
    "peer with a plain sort": lambda: peer(DENSE_SIZE),
    "ours": lambda: ours(DENSE_SIZE),
    "product at SSV2's size": lambda: product(SSV2_SIZE),
    "ours at SSV2's size": lambda: ours(SSV2_SIZE),
    "ours for mAP@R": lambda: ours(SSV2_SIZE, LARGEST_CLASS),
    "large": lambda: ours(LARGE_SIZE, queries=LARGE_QUERIES),
    "large, gallery only": lambda: ours(LARGE_SIZE, queries=1),
}


def measure_here(case: str) -> Measured:
    """Run one case in this process."""
    run = CASES[case]()
    before, start = _peak_gb(), time.perf_counter()
    recall = run()
    seconds, peak = time.perf_counter() - start, _peak_gb()
    named = {f"R@{k}": value for k, value in recall.items()}
    return Measured(seconds=seconds, total_gb=peak, added_gb=peak - before, recall=named)


def measure(case: str) -> Measured:
    """Run one case in a process of its own."""
    environment = dict(os.environ)
    if case == "peer with a plain sort":
        ask = "import numpy as np; print(*np.show_config('dicts')['SIMD Extensions']['found'])"
        asked = subprocess.run([sys.executable, "-c", ask], check=True, stdout=subprocess.PIPE, text=True)
        environment["NPY_DISABLE_CPU_FEATURES"] = asked.stdout.strip()
    command = [sys.executable, __file__, "--case", case]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    found: Measured = json.loads(done.stdout)
    return found


def best(cases: tuple[str, ...], rounds: int) -> dict[str, Measured]:
    """The quickest run of each case, the cases taking turns."""
    runs: dict[str, list[Measured]] = {case: [] for case in cases}
    for number in range(rounds):
        for case in cases:
            print(f"round {number + 1} of {rounds}: {case}", file=sys.stderr)
            runs[case].append(measure(case))
    return {case: min(found, key=lambda one: one["seconds"]) for case, found in runs.items()}


def report(rounds: int) -> None:
    """Peer, product and ours, with their ratios."""
    found = best(tuple(CASES)[:6], rounds)
    dense, plain, own, bare, ssv2, deep = found.values()
    assert dense["recall"] == own["recall"], f"peer and ours disagree: {dense['recall']} and {own['recall']}"
    print(f"{'':44}{'peer':>10}{'ours':>10}{'ratio':>12}")
    line = "{:44}{:>10.2f}{:>10.2f}{:>12}".format
    print(line(f"dense and full sort, N = {DENSE_SIZE:,}: seconds", *_pair(dense, own, "seconds")))
    print(line("  with a plain sort: seconds", *_pair(plain, own, "seconds")))
    print(line("  peak memory, GB", *_pair(dense, own, "total_gb")))
    print(line("  peak memory beyond the features, GB", *_pair(dense, own, "added_gb")))
    print(line(f"bare product, N = {SSV2_SIZE:,}: seconds", *_pair(bare, ssv2, "seconds", inverse=True)))
    print(line(f"  {LARGEST_CLASS} neighbours (mAP@R): seconds", *_pair(bare, deep, "seconds", inverse=True)))
    print(f"peak memory at N = {SSV2_SIZE:,}: {ssv2['total_gb']:.2f} GB; with {LARGEST_CLASS} neighbours:", end=" ")
    print(f"{deep['total_gb']:.2f} GB. Recall is the same: {own['recall']}")


def report_large() -> None:
    """Memory and extrapolated time where nothing dense fits."""
    found = best(("large", "large, gallery only"), rounds=1)
    some, one = found["large"], found["large, gallery only"]
    total = one["seconds"] + (some["seconds"] - one["seconds"]) * LARGE_SIZE / LARGE_QUERIES
    result_gb = LARGE_SIZE * max(KS) * 12 / 1e9
    print(f"N = {LARGE_SIZE:,}: {LARGE_QUERIES:,} queries took {some['seconds']:.1f} s,", end=" ")
    print(f"all would take about {total / 60:.0f} min (extrapolated);")
    print(f"  peak memory {some['total_gb'] + result_gb:.2f} GB, the full result of {result_gb:.2f} GB included")


def _pair(peer: Measured, own: Measured, field: str, *, inverse: bool = False) -> tuple[float, float, str]:
    """Peer's number, ours, and how many times less ours is (or, inverse, how many times more)."""
    theirs, mine = float(peer[field]), float(own[field])  # type: ignore[literal-required]
    return theirs, mine, f"{mine / theirs:.2f}x more" if inverse else f"{theirs / mine:.1f}x less"


def _peak_gb() -> float:
    """Peak resident memory of this process so far."""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def main() -> None:
    """Parse and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="runs of each case, of which the best counts")
    parser.add_argument("--large", action="store_true", help=f"also {LARGE_SIZE:,} clips")
    parser.add_argument("--case", choices=CASES, help="run one case in this process and print JSON")
    options = parser.parse_args()
    if options.case:
        print(json.dumps(measure_here(options.case)))
        return
    report(options.rounds)
    if options.large:
        report_large()


if __name__ == "__main__":
    main()
