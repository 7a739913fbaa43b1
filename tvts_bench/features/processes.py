"""How decoding processes are started, without importing anything heavy here."""

import multiprocessing
from multiprocessing.context import BaseContext

PRELOADED = ("tvts_bench.features.decoding",)


def worker_context() -> BaseContext:
    """Processes are forked from a server that imports the decoders once and never has a thread or an open video.

    Forking this process instead would copy the locks of its threads (torch, CUDA, decord) in whatever state they are.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    return context


def warm_up() -> None:
    """Start the server and its imports now, in the background, so that they overlap with loading a backbone.

    Takes milliseconds; extraction does it itself where it was not called.
    """
    if worker_context().get_start_method() == "forkserver":
        from multiprocessing import forkserver

        forkserver.ensure_running()
