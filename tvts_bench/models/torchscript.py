"""The tensors of a TorchScript archive (OpenAI's CLIP files are such), without running its program.

Such an archive is a zip like those of `torch.save`: `data.pkl` holds the module, its objects being of classes that the
program under `code/` defines, and `data/` the tensors' bytes. `torch.jit.load` compiles that program and runs parts of
it. Here the classes get stand-ins that only keep what the archive says their objects hold.
"""

import mmap
import zipfile
from pathlib import Path, PurePosixPath

from torch import Tensor

PROGRAM_NAMES = "__torch__"  # module of every class that an archive's own program defines
MARK, UNMARKED = b"constants.pkl", b"constants.not"  # torch.load refuses archives with the former; equally long
MAX_OBJECTS = 100_000  # modules and tensors; a pickle of a kilobyte can describe more than any memory holds


class Scripted:
    """Stands in for a class of the program: keeps the members of its object, does nothing."""

    members: object = None  # by name; something else for a class that says itself how it is saved

    def __init__(self, *args: object, **kwargs: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        self.members = state


def is_scripted(entries: list[zipfile.ZipInfo]) -> bool:
    """Whether the archive with these entries is TorchScript's."""
    return any(_is_mark(entry) for entry in entries)


def without_mark(path: Path) -> mmap.mmap:
    """The archive's bytes with the entry renamed by which torch tells that it is TorchScript; the file is unchanged."""
    with path.open("rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    with zipfile.ZipFile(path) as archive:
        for entry in filter(_is_mark, archive.infolist()):
            name = entry.filename.encode()
            for start in (entry.header_offset, archive.start_dir):  # a zip names each entry twice
                at = content.find(name, start) + len(name) - len(MARK)
                content[at : at + len(MARK)] = UNMARKED
    return content


def tensors_of(root: object) -> dict[str, Tensor]:
    """Every tensor that the modules of an archive hold, by its name: `visual.ln_pre.weight`.

    Those are parameters, buffers, and plain attributes that are tensors; the program alone tells them apart.

    Raises:
        ValueError: more objects than any network has, or objects that hold themselves.
    """
    found: dict[str, Tensor] = {}
    waiting, seen = [("", root)], 0
    while waiting:
        name, value = waiting.pop()
        seen += 1
        if seen > MAX_OBJECTS:
            raise ValueError(f"more than {MAX_OBJECTS:,} objects, or objects that hold themselves")
        if isinstance(value, Tensor):
            found[name] = value
        elif isinstance(value, Scripted) and isinstance(value.members, dict):
            prefix = f"{name}." if name else ""
            waiting.extend((f"{prefix}{member}", each) for member, each in reversed(value.members.items()))
    return found


def _is_mark(entry: zipfile.ZipInfo) -> bool:
    return PurePosixPath(entry.filename).name == MARK.decode()
