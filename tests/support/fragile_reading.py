"""Files that cannot be read for a moment: the system has no file descriptor left, as under a low `ulimit -n`."""

import errno
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tvts_bench.video import reader
from tvts_bench.video.packet_index import VideoDecodeError, read_index


@contextmanager
def out_of_descriptors(paths: Collection[Path]) -> Iterator[None]:
    """Within it, this process cannot read these files."""

    def fails(path: Path) -> Any:
        if path in paths:
            error = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            raise VideoDecodeError(path, os.strerror(errno.EMFILE)) from error
        return read_index(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "read_index", fails)
        yield
