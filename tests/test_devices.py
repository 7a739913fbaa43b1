"""Names of devices and precisions, and what several ranks tell each other."""

import multiprocessing
import os
import socket
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import torch

from tvts_bench.devices import resolve_device, resolve_dtype
from tvts_bench.distributed import broadcast_from_rank0, distributed_runtime, run_on_all_ranks
from tvts_bench.errors import UserError
from tvts_bench.runtime import Runtime

WITHOUT_CUDA = not torch.cuda.is_available()


def test_auto_is_a_gpu_if_there_is_one() -> None:
    assert resolve_device("auto") == ("cpu" if WITHOUT_CUDA else "cuda")
    assert resolve_device("cpu") == "cpu"


@pytest.mark.parametrize("name", ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "cpu:1", "mps:0", "CUDA"])
def test_a_device_that_does_not_exist_lists_those_that_do(name: str) -> None:
    with pytest.raises(UserError, match=f"{name!r}.*cpu"):
        resolve_device(name)


def test_a_gpu_that_is_not_there_is_one_sentence() -> None:
    absent = "cuda" if WITHOUT_CUDA else f"cuda:{torch.cuda.device_count()}"
    with pytest.raises(UserError, match=rf"device '{absent}' was asked for, but"):
        resolve_device(absent)


def test_precision_is_what_was_asked_for_or_what_the_processor_has() -> None:
    assert resolve_dtype("fp32", "cpu") == "fp32"
    assert resolve_dtype("bf16", "cpu") == "bf16"
    flags = set(Path("/proc/cpuinfo").read_text().split()) if Path("/proc/cpuinfo").exists() else set()
    assert resolve_dtype("auto", "cpu") == ("bf16" if flags & {"avx512_bf16", "amx_bf16", "bf16"} else "fp32")
    assert resolve_dtype("auto", "mps") == "fp32"
    with pytest.raises(UserError, match=r"fp16.*auto, fp32, bf16"):
        resolve_dtype("fp16", "cpu")
    with pytest.raises(UserError, match="--dtype fp32"):
        resolve_dtype("bf16", "mps")


def test_one_process_alone_is_rank_zero_of_one() -> None:
    runtime = Runtime(device="cpu")
    with distributed_runtime(runtime) as same:
        assert same is runtime
        assert broadcast_from_rank0(same, lambda: 7) == 7
        assert run_on_all_ranks(same, lambda: 8) == 8


def refuse(why: str) -> int:
    raise UserError(why)


def be_a_rank(rank: int, port: int, answer: Connection) -> None:
    """Meet the other rank as under torchrun, and send what became of each exchange."""
    facts = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in facts.items()})
    seen: list[object] = []
    with distributed_runtime(Runtime(device="cpu")) as runtime:
        seen.append((runtime.rank, runtime.world_size, runtime.device))
        seen.append(broadcast_from_rank0(runtime, lambda: f"from {rank}"))
        seen.append(run_on_all_ranks(runtime, lambda: f"own {rank}"))
        for exchange, why in ((broadcast_from_rank0, "no lock"), (run_on_all_ranks, "no disk")):
            try:
                exchange(runtime, lambda why=why: refuse(why) if why == "no lock" or rank == 1 else 0)  # type: ignore[misc]
            except UserError as error:
                seen.append(str(error))
    answer.send(seen)


def test_ranks_share_results_and_errors() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tvts_bench.devices"])
    pipes = [context.Pipe(duplex=False) for _ in range(2)]
    ranks = [context.Process(target=be_a_rank, args=(rank, port, pipes[rank][1])) for rank in range(2)]
    for process in ranks:
        process.start()
    seen = [receiver.recv() for receiver, _ in pipes]
    for process in ranks:
        process.join()
    assert seen[0] == [(0, 2, "cpu"), "from 0", "own 0", "no lock", "rank 1: no disk"]
    assert seen[1] == [(1, 2, "cpu"), "from 0", "own 1", "rank 0: no lock", "no disk"]
