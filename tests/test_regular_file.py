"""Only regular files are read, and no more of one than allowed; what would block or never end is refused at once."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tvts_bench.regular_file import open_regular, read_regular, require_regular


def test_a_file_and_a_link_to_it_are_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1\r\n2")
    (tmp_path / "link").symlink_to("a")
    assert read_regular(tmp_path / "a") == read_regular(tmp_path / "link") == b"1\r\n2"


@pytest.mark.parametrize("read", [require_regular, open_regular, read_regular])
def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path, read: Callable[[Path], object]) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        folder = os.open(tmp_path, os.O_RDONLY)  # a socket's name has at most 107 characters
        server.bind(f"/proc/self/fd/{folder}/socket")
        os.close(folder)
        links = {"pipe": "a named pipe", "socket": "a socket", "/dev/zero": "a device", ".": "a folder"}
        for number, (target, kind) in enumerate(links.items()):
            (tmp_path / f"{number}.vtt").symlink_to(target)
            with pytest.raises(OSError, match=f"it is not a file but {kind}"):
                read(tmp_path / f"{number}.vtt")


def test_missing_files_and_circles_are_the_system_s_errors(tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to("circle")
    for name in ("circle", "gone"):
        with pytest.raises(OSError, match=name):
            read_regular(tmp_path / name)


def test_no_more_is_read_than_allowed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(1 << 20))
    assert len(read_regular(tmp_path / "a", most=1 << 20)) == 1 << 20
    with pytest.raises(OSError, match="it is larger than 0 MiB"):
        read_regular(tmp_path / "a", most=(1 << 20) - 1)
    os.truncate(tmp_path / "a", 1 << 40)  # a sparse file takes no disk, and would take all memory
    with pytest.raises(OSError, match="it is larger than 1,024 MiB"):
        read_regular(tmp_path / "a")
