"""Reads `torch.save` files without running anything in them.

A pickle can name any Python callable and have it called. torch's restricted reader refuses every name it does not know,
so the objects that training code leaves beside its weights (a configuration, an `argparse.Namespace`) stop the load.
Here such names are tensors beforehand, by reading the pickle as data, and answered with inert stand-ins: nothing a file
names is ever imported, let alone called. Names that only an attack needs are refused outright.

A TorchScript archive (OpenAI's CLIP files are such) is a zip like those of `torch.save`: `data.pkl` holds the module,
its objects being of classes that the program under `code/` defines, and `data/` the tensors' bytes. `torch.jit.load`
compiles that program and runs parts of it. Here its classes get stand-ins that only keep what their objects hold.
"""

import builtins
import mmap
import re
import tarfile
import zipfile
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple, cast

import torch
from torch import Tensor

from tvts_bench.errors import UserError, with_article
from tvts_bench.models.pickle_names import MAX_TENSORS, GlobalName, Names, TooManyTensorsError, named_globals

ZIP_MAGIC = b"PK\x03\x04"
PICKLE_MAGIC = b"\x80"  # of protocol 2 and later
LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the pickled number that starts every file of torch < 1.6
CHUNK = 2**20  # bytes
OTHER_ENTRIES = 10_000  # of an archive, beside tensors: the program of TorchScript
LEGACY_HEADER_PICKLES = 3  # magic number, protocol version, system information; then comes the object
PROGRAM_NAMES = "__torch__"  # module of every class that an archive's own program defines
MARK, UNMARKED = b"constants.pkl", b"constants.not"  # torch.load refuses archives with the former; equally long
MAX_OBJECTS = 100_000  # modules and tensors; a pickle of a kilobyte can describe more than any memory holds

# What torch's restricted reader knows by itself; everything else gets a stand-in.
TORCHS_OWN = re.compile(
    r"torch\.\w+|torch\.(_utils|_tensor|storage|serialization)\.\w+|torch\.nn\.parameter\.Parameter"
    r"|collections\.(OrderedDict|Counter)|_codecs\.encode|builtins\.(set|bytearray|complex)"
)
# Stand-ins would make these harmless too, but a file that asks for them is an attack, and its user should know.
ATTACKS = re.compile(
    r"(os|posix|nt|sys|subprocess|shutil|socket|runpy|importlib|imp|pty|_?ctypes|code|codeop|webbrowser|_?io|_?pickle"
    r"|dill|cloudpickle|marshal|asyncio|pip|urllib|http|requests|posixpath|ntpath)\..*"
)


class CheckpointError(UserError):
    """A file that cannot be read as weights, or must not be."""


class Inert:
    """Stands in for any class or function that a file names: takes everything, does nothing, keeps nothing."""

    stands_for: str  # the name in the file

    def __new__(cls, *args: object, **kwargs: object) -> Any:
        """Take any arguments."""
        return object.__new__(cls)

    def __init__(self, *args: object, **kwargs: object) -> None:
        """Do nothing with them."""
        pass

    def __setstate__(self, state: object) -> None:
        """Do nothing with it."""
        pass


class InertMapping(Inert):
    """For classes that the file fills with items: torch's reader fills nothing but true dictionaries."""

    def __new__(cls, *args: object, **kwargs: object) -> Any:
        """Take any arguments."""
        return OrderedDict()


class InertList(Inert):
    """For classes that the file appends to: torch's reader appends to nothing but true lists."""

    def __new__(cls, *args: object, **kwargs: object) -> Any:
        """Take any arguments."""
        return []


def too_many_tensors(path: Path) -> CheckpointError:
    """The refusal of a file that holds more tensors than any network."""
    return CheckpointError(f"{path} holds more than {MAX_TENSORS:,} tensors, which no network has: get another file")


def described(value: object) -> str:
    """What an object from a file is, for a message: "a list", "an object of the class models.ResNet"."""
    if isinstance(value, Inert):
        return f"an object of the class {type(value).stands_for}"
    return "nothing" if value is None else with_article(type(value).__name__)


class Unpickled(NamedTuple):
    """What was in a file."""

    loaded: object  # a dictionary of tensors for a TorchScript archive
    stubbed: tuple[str, ...]  # names that were answered with stand-ins
    scripted: bool  # whether the file is a TorchScript archive


def load_pickled(path: Path) -> Unpickled:
    """The object in a `torch.save` file, old layout or new, or the tensors of a TorchScript archive.

    Tensors of the new layout stay mapped from the file, so an optimizer state that nobody asks for is not read.

    Raises:
        CheckpointError: not such a file, damaged, or one that asks for what no weights need.
    """
    with path.open("rb") as file:
        is_zip = file.read(len(ZIP_MAGIC)) == ZIP_MAGIC
    try:
        names, scripted = _names_in_zip(path) if is_zip else (_names_in_legacy(path), False)
    except CheckpointError:
        raise
    except TooManyTensorsError:
        raise too_many_tensors(path) from None
    except Exception as error:
        raise CheckpointError(
            f"{path} is damaged, incomplete, or not written by torch.save ({_brief(error)})"
        ) from error
    attacks = sorted(name.today for name in names if _is_attack(name.today))
    if attacks:
        raise CheckpointError(
            f"{path} asks to run {', '.join(attacks)} while it is read, which no weights need: nothing of it was run; "
            "do not open this file with anything else, and get the weights from their authors"
        )
    foreign = {name: uses for name, uses in names.items() if not TORCHS_OWN.fullmatch(name.today)}
    # torch translates some of Python 2's names and not others, so both forms get the stand-in.
    stand_ins = [(_stand_in(name, uses), form) for name, uses in foreign.items() for form in (str(name), name.today)]
    try:
        with torch.serialization.safe_globals(stand_ins):  # type: ignore[arg-type]  # older stubs know no pairs
            if scripted:
                with without_mark(path) as archive:
                    loaded = tensors_of(torch.load(cast(IO[bytes], archive), map_location="cpu", weights_only=True))
            else:
                loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except Exception as error:
        raise CheckpointError(
            f"{path} is damaged, or holds objects that cannot be read safely ({_brief(error)}): "
            "have its authors save the tensors alone, as a state dict or safetensors"
        ) from error
    return Unpickled(loaded, tuple(sorted(name.today for name in foreign)), scripted)


def _names_in_zip(path: Path) -> tuple[Names, bool]:
    """`named_globals` of the new layout, a zip archive with the object in `<name>/data.pkl`; whether it is scripted."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if len(entries) > MAX_TENSORS + OTHER_ENTRIES:
            raise TooManyTensorsError
        files = {Path(entry.filename).name for entry in entries}
        if "data.pkl" not in files:
            raise CheckpointError(f"{path} is a zip archive, but not one written by torch.save: unpack it first")
        scripted = is_scripted(entries)
        read = [entry for entry in entries if not (scripted and "/code/" in entry.filename)]
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in read):
            raise CheckpointError(f"{path} is a compressed archive, which torch.save never writes: save it anew")
        _refuse_damage(path, archive, read)
        names: Names = defaultdict(set)
        for entry in read:
            if Path(entry.filename).name == "data.pkl":
                for name, uses in named_globals(BytesIO(archive.read(entry))).items():
                    names[name] |= uses
    return names, scripted


def _refuse_damage(path: Path, archive: zipfile.ZipFile, entries: Sequence[zipfile.ZipInfo]) -> None:
    """Nothing where the bytes of every entry have the checksum (CRC-32) that the archive has for them.

    torch reads tensors without a look at it. Where it was told not to compute them (`set_crc32_options(False)`), all
    are 0 and tell nothing. 0.15 s for 350 MB.
    """
    if sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise CheckpointError(f"{path} is damaged: its entries are larger than the whole file")
    if not any(entry.CRC for entry in entries):
        for entry in entries:
            del entry.CRC  # which zipfile takes for one that is not known
    for entry in entries:
        try:
            with archive.open(entry) as file:
                while file.read(CHUNK):
                    pass
        except zipfile.BadZipFile as error:
            raise CheckpointError(
                f"{path} is damaged: {entry.filename} in it is not as it was written ({error}); fetch it anew"
            ) from error


def _names_in_legacy(path: Path) -> Names:
    """`named_globals` of the layout before torch 1.6: pickles one after the other, then the tensors' bytes."""
    with path.open("rb") as file:
        if file.read(len(LEGACY_MAGIC)) != LEGACY_MAGIC:
            raise CheckpointError(
                f"{path} is a pickle, but not one written by torch.save: no weights can be read from it"
            )
        if tarfile.is_tarfile(path):
            raise CheckpointError(f"{path} is a tar archive: unpack it first")
        file.seek(0)
        names: Names = defaultdict(set)
        for _ in range(LEGACY_HEADER_PICKLES + 1):
            for name, uses in named_globals(file).items():
                names[name] |= uses
    return names


def _is_attack(name: str) -> bool:
    """Whether no honest file names this: what runs commands, opens files or connections, or reaches other code."""
    module, _, rest = name.partition(".")
    if module == "builtins":
        return not isinstance(getattr(builtins, rest, None), type)
    return ATTACKS.fullmatch(name) is not None


def _stand_in(name: GlobalName, uses: Iterable[str]) -> type:
    """The stand-in for a name on which these opcodes act."""
    if name.module.partition(".")[0] == PROGRAM_NAMES:
        return Scripted
    if {"SETITEM", "SETITEMS"} & set(uses):
        return InertMapping
    return InertList if {"APPEND", "APPENDS"} & set(uses) else type("Inert", (Inert,), {"stands_for": name.today})


def _brief(error: Exception) -> str:
    """One line on `error`, without torch's advice to load the file unsafely."""
    text = str(error).strip()
    if not text or text.startswith("Weights only load failed"):
        return type(error).__name__
    return f"{type(error).__name__}: {text.splitlines()[0]}"


class Scripted:
    """Stands in for a class of the program: keeps the members of its object, does nothing."""

    members: object = None  # by name; something else for a class that says itself how it is saved

    def __init__(self, *args: object, **kwargs: object) -> None:
        """Do nothing with them."""
        pass

    def __setstate__(self, state: object) -> None:
        """Keep what the archive says of the object."""
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
    tensors: dict[str, Tensor] = {}
    waiting, seen = [("", root)], 0
    while waiting:
        name, value = waiting.pop()
        seen += 1
        if seen > MAX_OBJECTS:
            raise ValueError(f"more than {MAX_OBJECTS:,} objects, or objects that hold themselves")
        if isinstance(value, Tensor):
            tensors[name] = value
        elif isinstance(value, Scripted) and isinstance(value.members, dict):
            prefix = f"{name}." if name else ""
            waiting.extend((f"{prefix}{member}", each) for member, each in reversed(value.members.items()))
    return tensors


def _is_mark(entry: zipfile.ZipInfo) -> bool:
    return PurePosixPath(entry.filename).name == MARK.decode()
