"""Evaluations under torchrun: the result of one process on every rank, and nothing searched or fitted twice."""

import multiprocessing
import os
import socket
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from tests.support.plain_videos import write_plain_video
from tvts_bench import evaluate, load_backbone, load_dataset
from tvts_bench.distributed import distributed_runtime
from tvts_bench.evaluators import probe_heads, zero_shot_retrieval
from tvts_bench.evaluators.base import Evaluator
from tvts_bench.evaluators.cached_probe import CachedProbe
from tvts_bench.evaluators.zero_shot_retrieval import ZeroShotRetrieval
from tvts_bench.runtime import Runtime

WORK = {zero_shot_retrieval: "nearest", probe_heads: "fit_knn"}
PROTOCOLS: tuple[Evaluator, ...] = (
    ZeroShotRetrieval(split="test", ks=(1, 2), decoder="pyav"),
    CachedProbe(heads=("knn",), decoder="pyav"),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for split, green in (("train", 20), ("test", 40)):
        for shade in range(3):
            write_plain_video(tmp_path / "videos" / split / "red" / f"{shade}.mp4", (200 + 10 * shade, green, 20))
            write_plain_video(tmp_path / "videos" / split / "blue" / f"{shade}.mp4", (20, green, 205 + 10 * shade))
    return tmp_path / "videos"


def measured(folder: Path, runtime: Runtime) -> list[Any]:
    """The numbers and the tables of every protocol."""
    dataset, backbone = load_dataset("folder", folder), load_backbone("pixels")
    results = [evaluate(backbone, dataset, protocol, runtime) for protocol in PROTOCOLS]
    return [(result.metrics, {name: list(table) for name, table in result.tables.items()}) for result in results]


def be_a_rank(rank: int, port: int, folder: Path, cache: Path, answer: Connection) -> None:
    """Evaluate as under torchrun; send what came of it and how often this rank searched or fitted."""
    facts = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in facts.items()})
    calls: list[str] = []

    def counted(work: Callable[..., Any]) -> Callable[..., Any]:
        def count(*arguments: Any, **options: Any) -> Any:
            calls.append(work.__name__)
            return work(*arguments, **options)

        return count

    for module, name in WORK.items():
        setattr(module, name, counted(getattr(module, name)))
    with distributed_runtime(Runtime(workers=0, cache=cache)) as runtime:
        answer.send((measured(folder, runtime), calls))


def test_one_rank_works_and_every_rank_has_the_result(folder: Path, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    pipes = [context.Pipe(duplex=False) for _ in range(2)]
    ranks = [
        context.Process(target=be_a_rank, args=(rank, port, folder, tmp_path / "two", pipes[rank][1]))
        for rank in range(2)
    ]
    for process, (_, sender) in zip(ranks, pipes, strict=True):
        process.start()
        sender.close()  # so that a rank that dies ends the test
    (first, worked), (second, idled) = (receiver.recv() for receiver, _ in pipes)
    for process in ranks:
        process.join()
    assert first == second == measured(folder, Runtime(workers=0, cache=tmp_path / "one"))
    assert worked == ["nearest", "fit_knn"]
    assert idled == []
