"""Annotation files, read with the line number at hand: every complaint names the file and the line."""

import csv
import difflib
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tvts_bench.datasets.base import AnnotationError, DatasetError

VIDEO_EXTENSIONS = frozenset(
    ".3gp .avi .flv .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogv .ts .webm .wmv".split()  # noqa: SIM905
)
"""Lower-case suffixes that make a file a video to the readers; its content is judged when it is decoded."""

_SEPARATOR = r"(?:\s*,\s*|\s+)"
_EXTENSION = "|".join(sorted(extension[1:] for extension in VIDEO_EXTENSIONS))
_AFTER_EXTENSION = re.compile(rf"(?P<path>.*\.(?:{_EXTENSION})\"?){_SEPARATOR}(?P<label>\S.*)", re.IGNORECASE)
_INDEX_LAST = re.compile(rf"(?P<path>.*[^\s,]){_SEPARATOR}(?P<label>[+-]?[0-9]{1, 9})")
_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,9}")  # longer ones are ids, not class numbers


def read_text(path: Path) -> str:
    """The file as UTF-8 (a byte-order mark is dropped), line ends as they are.

    Raises:
        DatasetError: the file cannot be opened.
        AnnotationError: bytes that are not UTF-8 text, with their line.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror or error}") from error
    if b"\0" in data:  # a video or an archive taken for a list, or UTF-16
        line = data.count(b"\n", 0, data.index(b"\0")) + 1
        raise AnnotationError(path, line, "a zero byte, which no text has; save the list as UTF-8 text")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problem = f"byte 0x{data[error.start]:02x} is not UTF-8; save the list as UTF-8 text"
        raise AnnotationError(path, line, problem) from error


def read_lines(path: Path) -> list[tuple[int, str]]:
    """(line number from 1, text without surrounding white space) of every line that is not blank."""
    # Not str.splitlines: it also splits at characters such as U+2028 that may stand inside a file name.
    text = read_text(path).replace("\r\n", "\n").replace("\r", "\n")  # Windows, and Macs of old
    stripped = ((number, line.strip()) for number, line in enumerate(text.split("\n"), start=1))
    return [(number, line) for number, line in stripped if line]


def read_names(path: Path) -> tuple[str, ...]:
    """Class names, one a line, in the order of their indices.

    Raises:
        AnnotationError: the same name twice.
        DatasetError: no name at all.
    """
    names: dict[str, None] = {}
    for number, name in read_lines(path):
        if name in names:
            raise AnnotationError(path, number, f"class {name!r} is listed twice")
        names[name] = None
    if not names:
        raise DatasetError(f"{path} lists no class")
    return tuple(names)


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        AnnotationError: not JSON, with line and column.
    """
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise AnnotationError(path, error.lineno, f"column {error.colno}: not JSON ({error.msg})") from error
    except (RecursionError, ValueError) as error:  # brackets without end, a number of thousands of digits
        raise DatasetError(f"{path} holds JSON that no list of videos has ({error})") from error


def json_entry_line(path: Path, index: int) -> int:
    """Line on which entry `index` of a JSON array begins. For complaints only: it reads the file once more."""
    text, decoder = read_text(path), json.JSONDecoder()
    position = text.index("[") + 1
    for _ in range(index):
        _, position = decoder.raw_decode(text, _skip_separators(text, position))
    return text.count("\n", 0, _skip_separators(text, position)) + 1


def _skip_separators(text: str, position: int) -> int:
    while position < len(text) and text[position] in ", \t\r\n":
        position += 1
    return position


def read_table(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, row by column name) of a CSV file with a header; values stripped, blank rows left out.

    Raises:
        AnnotationError: a column of `columns` is not in the header, or a row has more or fewer fields than it.
    """
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        absent = [name for name in columns if name not in header]
        if absent:
            raise AnnotationError(path, 1, f"the header lacks {', '.join(absent)}; it has: {', '.join(header)}")
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                raise AnnotationError(path, reader.line_num, f"{len(row)} fields, the header has {len(header)}")
            yield reader.line_num, {name: value.strip() for name, value in zip(header, row, strict=True)}
    except csv.Error as error:
        raise AnnotationError(path, reader.line_num, f"not CSV ({error})") from error


def split_path_and_label(text: str) -> tuple[str, str] | None:
    """The two parts of a `path label` or `path,label` line; None if there are not two.

    The path may hold spaces and commas. The label is all that follows the last video extension, so it may hold spaces
    too; without an extension it is the last token if that is a whole number, else all after the last comma or tab,
    else the last word.
    """
    found = _AFTER_EXTENSION.fullmatch(text) or _INDEX_LAST.fullmatch(text)
    if found:
        return found["path"], found["label"]
    for separator in (",", "\t", None):
        parts = [part.strip() for part in text.rsplit(separator, 1)]
        if len(parts) == 2 and all(parts):
            return parts[0], parts[1]
    return None


def read_path_labels(path: Path) -> list[tuple[int, str, str]]:
    """(line number, path, label) of every line of a `path label` list; a quoted path loses its quotes.

    Raises:
        AnnotationError: a line without two parts.
        DatasetError: an empty list.
    """
    rows = []
    for number, text in read_lines(path):
        parts = split_path_and_label(text)
        if parts is None:
            raise AnnotationError(path, number, f"expected `path label`, got {text!r}")
        rows.append((number, _unquoted(parts[0]), _unquoted(parts[1])))
    if not rows:
        raise DatasetError(f"{path} lists no video")
    return rows


def _unquoted(text: str) -> str:
    """CSV quoting undone: `"a ""b"".mp4"` is `a "b".mp4`."""
    quoted = len(text) > 1 and text[0] == text[-1] == '"'
    return text[1:-1].replace('""', '"') if quoted else text


def index_of_class(name: str, classes: Mapping[str, int], path: Path, line: int) -> int:
    """The index of class `name`.

    Raises:
        AnnotationError: there is no such class; the nearest names are given.
    """
    if name not in classes:
        close = difflib.get_close_matches(name, classes, n=2)
        hint = f"; did you mean {' or '.join(repr(other) for other in close)}?" if close else ""
        raise AnnotationError(path, line, f"no class {name!r} among the {len(classes)} known{hint}")
    return classes[name]


def checked_index(text: str, num_classes: int, path: Path, line: int) -> int:
    """The class index written as `text`.

    Raises:
        AnnotationError: not a whole number, or out of range.
    """
    if not is_index(text):
        raise AnnotationError(path, line, f"label {text!r} is not a whole number")
    index = int(text)
    if not 0 <= index < num_classes:
        raise AnnotationError(path, line, f"label {index} is out of range: there are {num_classes} classes, from 0")
    return index


def is_index(text: str) -> bool:
    """Whether a label is written as a whole number (and so is not a name)."""
    return _WHOLE_NUMBER.fullmatch(text) is not None
