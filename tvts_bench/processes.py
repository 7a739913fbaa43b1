"""How worker processes are started, without importing anything heavy here."""

import multiprocessing
import os
import tempfile
from collections.abc import Sequence
from functools import cache
from multiprocessing import util
from multiprocessing.context import BaseContext

SOCKET_PATH = 103  # bytes at most, where systems allow the least
LONGEST_FOLDER = SOCKET_PATH - len("/pymp-12345678/listener-12345678")  # what multiprocessing makes in $TMPDIR
SHORT_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")

SERVER_ENDED = 255  # what multiprocessing takes for the exit code of a process whose fork server is gone, dead or not
TRIES = 3  # of work whose process ends: most end from outside (memory, an operator), so it need not be the work
# A worker that is killed while it holds the lock of a pool's pipe (for microseconds, since messages are short) takes it
# along. The others then give up after this time, and a new pool takes over.
LOCK_SECONDS = 5.0
STALLED_SECONDS = 15.0  # a pool that does nothing for so long beyond the time limits lost a message: it is replaced


def worker_context(preload: Sequence[str]) -> BaseContext:
    """Processes are forked from a server that imports `preload` once and never has a thread or an open video.

    Forking this process instead would copy the locks of its threads (torch, CUDA, decord) in whatever state they are.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    _shorten_socket_paths()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    return context


@cache
def _shorten_socket_paths() -> None:
    """Have this process and its workers meet in a short folder where $TMPDIR is too long for the path of a socket."""
    if len(os.fsencode(tempfile.gettempdir())) <= LONGEST_FOLDER:
        return
    before = tempfile.tempdir
    tempfile.tempdir = next((each for each in SHORT_FOLDERS if os.access(each, os.W_OK | os.X_OK)), before)
    try:
        util.get_temp_dir()  # multiprocessing makes its folder once, tells its children, and removes it at the end
    finally:
        tempfile.tempdir = before
