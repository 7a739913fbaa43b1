"""The first, approximate stage: FAISS's flat search by inner product, on the CPU or on GPUs.

FAISS is imported inside functions, so that everything else works, and says so, without it. On macOS FAISS and torch
each bring an OpenMP runtime, and a process that loads both can crash: `export OMP_NUM_THREADS=1` before starting avoids
it, at the cost of one core; `export KMP_DUPLICATE_LIB_OK=TRUE` often works too, but Intel calls it unsupported.
"""

import logging
from collections.abc import Callable
from importlib import metadata
from typing import Any

from tvts_bench.errors import UserError
from tvts_bench.neighbors.exact_scores import Float32Array, IntArray

Search = Callable[[Float32Array, int], tuple[Float32Array, IntArray]]
"""`search(queries [B, D], depth)` -> inner products [B, depth], best first, and rows of the gallery [B, depth]."""

GPU_DEPTH = 2048  # the most neighbours that FAISS selects on a GPU
BLAS_BLOCK = (1024, 4096)  # queries x gallery rows a matrix product; FAISS's 4096 x 1024 was up to 10 % slower

log = logging.getLogger(__name__)


def check_faiss() -> Any:
    """The module `faiss`.

    Raises:
        UserError: it is not installed, or both of its packages are, which overwrite each other's files.
    """
    both = [name for name in ("faiss-cpu", "faiss-gpu") if _is_installed(name)]
    if len(both) > 1:
        raise UserError(
            "faiss-cpu and faiss-gpu are both installed and overwrite each other:"
            " pip uninstall faiss-cpu faiss-gpu, then pip install 'tvts-bench[cpu]' or 'tvts-bench[gpu]'"
        )
    try:
        import faiss
    except ImportError as error:
        raise UserError(
            f"FAISS is not installed ({error}): pip install 'tvts-bench[cpu]',"
            " or 'tvts-bench[gpu]' on a machine with a GPU, never both"
        ) from error
    return faiss


def candidate_search(gallery: Float32Array, device: str) -> Search:
    """A search of `gallery` [N, D], which it may keep a reference to.

    `device` "cuda" shards the gallery over all GPUs, "cuda:1" takes that one. A FAISS without GPU support, or one that
    sees no GPU, searches on the CPU and logs a warning: it only takes longer, since the second stage makes the result
    the same.
    """
    faiss = check_faiss()
    on_cpu = _cpu_search(faiss, gallery)
    if not device.startswith("cuda"):
        return on_cpu
    if not hasattr(faiss, "StandardGpuResources"):
        log.warning(
            "neighbours are searched on the CPU although the device is %s: this FAISS has no GPU support"
            " (pip uninstall faiss-cpu, then pip install 'tvts-bench[gpu]')",
            device,
        )
        return on_cpu
    if not faiss.get_num_gpus():
        log.warning("neighbours are searched on the CPU although the device is %s: FAISS sees no GPU", device)
        return on_cpu
    on_gpu = _gpu_index(faiss, gallery, device)

    def search(queries: Float32Array, depth: int) -> tuple[Float32Array, IntArray]:
        if depth > GPU_DEPTH:
            return on_cpu(queries, depth)
        products, rows = on_gpu.search(queries, depth)
        return products, rows

    return search


def _cpu_search(faiss: Any, gallery: Float32Array) -> Search:
    """FAISS's exhaustive search over the array itself, without the copy that an index would keep."""

    def search(queries: Float32Array, depth: int) -> tuple[Float32Array, IntArray]:
        settings = faiss.cvar
        before = settings.distance_compute_blas_query_bs, settings.distance_compute_blas_database_bs
        settings.distance_compute_blas_query_bs, settings.distance_compute_blas_database_bs = BLAS_BLOCK
        try:
            products, rows = faiss.knn(queries, gallery, depth, metric=faiss.METRIC_INNER_PRODUCT)
        finally:
            settings.distance_compute_blas_query_bs, settings.distance_compute_blas_database_bs = before
        return products, rows

    return search


def _gpu_index(faiss: Any, gallery: Float32Array, device: str) -> Any:
    """A flat float32 index on the GPU that `device` names, or in equal shards on all of them."""
    flat = faiss.IndexFlatIP(gallery.shape[1])
    flat.add(gallery)
    _, _, number = device.partition(":")
    if number:
        return faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), int(number), flat)
    options = faiss.GpuMultipleClonerOptions()
    options.shard = True
    return faiss.index_cpu_to_all_gpus(flat, options)


def _is_installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True
