"""What a search says where FAISS is missing, installed twice, or has no GPU."""

import subprocess
import sys
from importlib import metadata
from types import SimpleNamespace

import faiss
import numpy as np
import pytest

from tvts_bench.errors import UserError
from tvts_bench.neighbors import EmbeddingSet, check_faiss, nearest

CLIPS = EmbeddingSet(ids=["a", "b", "c"], values=np.eye(3, dtype=np.float32))


def test_missing_faiss_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(UserError, match=r"FAISS is not installed .*pip install 'tvts-bench\[cpu\]'"):
        nearest(CLIPS, CLIPS, 1)


def test_faiss_installed_twice_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", lambda name: "1.0")
    with pytest.raises(UserError, match="faiss-cpu and faiss-gpu are both installed"):
        check_faiss()


def test_the_package_imports_without_faiss() -> None:
    code = "import sys; sys.modules['faiss'] = None; import tvts_bench.neighbors; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_cuda_without_a_gpu_search_says_so_and_finds_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delattr(faiss, "StandardGpuResources", raising=False)
    found = nearest(CLIPS, CLIPS, 2, device="cuda")
    assert found.indices.tolist() == nearest(CLIPS, CLIPS, 2).indices.tolist()
    assert "this FAISS has no GPU support" in caplog.text
    monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0)
    found = nearest(CLIPS, CLIPS, 2, device="cuda")
    assert found.indices.tolist() == nearest(CLIPS, CLIPS, 2).indices.tolist()
    assert "FAISS sees no GPU" in caplog.text


@pytest.mark.parametrize(("device", "placed"), [("cuda", ["all, sharded"]), ("cuda:1", ["number 1"])])
def test_the_device_says_which_gpus_hold_the_gallery(
    device: str, placed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With FAISS's GPU functions replaced by ones that note where an index would go, and leave it on the CPU."""
    places: list[str] = []

    def to_one(resources: object, number: int, index: object) -> object:
        places.append(f"number {number}")
        return index

    def to_all(index: object, options: SimpleNamespace) -> object:
        places.append("all, sharded" if options.shard else "all, copied")
        return index

    monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
    monkeypatch.setattr(faiss, "GpuMultipleClonerOptions", SimpleNamespace, raising=False)
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 2)
    monkeypatch.setattr(faiss, "index_cpu_to_gpu", to_one, raising=False)
    monkeypatch.setattr(faiss, "index_cpu_to_all_gpus", to_all, raising=False)
    values = np.random.default_rng(0).standard_normal((2200, 8)).astype(np.float32)
    clips = EmbeddingSet(ids=[f"v{i:04d}" for i in range(2200)], values=values)
    for k in (5, 2100):
        np.testing.assert_array_equal(nearest(clips, clips, k, device=device).indices, nearest(clips, clips, k).indices)
    assert places == 2 * placed


@pytest.mark.gpu
@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
def test_gpu_finds_what_the_cpu_finds(device: str, caplog: pytest.LogCaptureFixture) -> None:
    values = np.random.default_rng(0).standard_normal((5000, 768)).astype(np.float32)
    values[1000:2000] = values[:1000]
    clips = EmbeddingSet(ids=[f"v{i}" for i in range(5000)], values=values)
    for k in (10, 2500):  # more than a GPU selects
        found, expected = nearest(clips, clips, k, device=device), nearest(clips, clips, k)
        np.testing.assert_array_equal(found.indices, expected.indices)
        np.testing.assert_array_equal(found.similarities, expected.similarities)
    assert not caplog.text
