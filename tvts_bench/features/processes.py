"""The processes that decode clips, without importing anything heavy here."""

from multiprocessing.context import BaseContext

from tvts_bench.processes import worker_context


def decoding_context() -> BaseContext:
    """Processes that have the decoders imported."""
    return worker_context(("tvts_bench.features.decoding",))


def warm_up() -> None:
    """Start the server and its imports now, in the background, so that they overlap with loading a backbone.

    Takes milliseconds; extraction does it itself where it was not called.
    """
    if decoding_context().get_start_method() == "forkserver":
        from multiprocessing import forkserver

        forkserver.ensure_running()
