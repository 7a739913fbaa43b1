"""Annotation files, read with the line number at hand: every complaint names the file and the line."""

import codecs
import csv
import difflib
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tvts_bench.datasets.base import AnnotationError, DatasetError
from tvts_bench.regular_file import open_regular, read_regular

LONGEST_LINE = 1 << 20  # bytes

VIDEO_EXTENSIONS = frozenset({
    ".264", ".3g2", ".3gp", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".gif", ".h264", ".h265", ".hevc", ".ivf",
    ".m1v", ".m2t", ".m2ts", ".m2v", ".m4v", ".mkv", ".mod", ".mov", ".mp4", ".mpe", ".mpeg", ".mpg", ".mpv",
    ".mts", ".mxf", ".ogm", ".ogv", ".qt", ".rm", ".rmvb", ".tod", ".ts", ".vob", ".webm", ".wmv",
})  # fmt: skip
"""Lower-case suffixes that make a file a video to the readers; its content is judged when it is decoded."""

_SEPARATOR = r"(?:\s*[,;]\s*|\s+)"
_EXTENSION = "|".join(sorted(extension[1:] for extension in VIDEO_EXTENSIONS))
_AFTER_EXTENSION = re.compile(rf"(?P<path>.*\.(?:{_EXTENSION})\"?){_SEPARATOR}(?P<label>\S.*)", re.IGNORECASE)
_INDEX_LAST = re.compile(rf"(?P<path>.*[^\s,;]){_SEPARATOR}(?P<label>[+-]?[0-9]{1, 9})")
_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,9}")  # longer ones are ids, not class numbers


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(line number from 1, text without surrounding white space) of every line that is not blank.

    Raises:
        DatasetError: the file cannot be opened, or is not a regular file.
        AnnotationError: bytes that are not UTF-8 text, with their line; a line without end.
    """
    for number, line in _lines(path):
        if text := line.strip():
            yield number, text


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """(line number from 1, text) of every line; a list larger than the memory is read line by line."""
    number = 0
    try:
        with open_regular(path) as file:
            while data := file.readline(LONGEST_LINE + 1):
                if not number:
                    data = data.removeprefix(codecs.BOM_UTF8)
                # Not str.splitlines: it also splits at characters such as U+2028 that may stand inside a file name.
                for line in data.rstrip(b"\r\n").split(b"\r"):  # Windows, and Macs of old
                    number += 1
                    if len(line) > LONGEST_LINE:
                        raise AnnotationError(
                            path, number, f"a line of more than {LONGEST_LINE:,} bytes; is it a list?"
                        )
                    yield number, _decoded(line, path, number)
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror or error}") from error


def _decoded(data: bytes, path: Path, number: int) -> str:
    """Text of line `number`, or of all lines from there on."""
    if b"\0" in data:  # a video or an archive taken for a list, or UTF-16
        line = number + data.count(b"\n", 0, data.index(b"\0"))
        raise AnnotationError(path, line, "a zero byte, which no text has; save the list as UTF-8 text")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = number + data.count(b"\n", 0, error.start)
        problem = f"byte 0x{data[error.start]:02x} is not UTF-8; save the list as UTF-8 text"
        raise AnnotationError(path, line, problem) from error


def read_text(path: Path) -> str:
    """The file as UTF-8 (a byte-order mark is dropped), line ends as they are.

    Raises:
        DatasetError, AnnotationError: as `read_lines`; or more than fits in memory.
    """
    try:
        data = read_regular(path)
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror or error}") from error
    return _decoded(data.removeprefix(codecs.BOM_UTF8), path, 1)


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

    Fields are separated by commas, semicolons or tabs, whichever the header has most of.

    Raises:
        AnnotationError: a column of `columns` is not in the header, or a row has more or fewer fields than it.
    """
    texts = (f"{text}\n" for _, text in _lines(path))
    first = next(texts, "")
    reader = csv.reader(itertools.chain([first], texts), strict=True, delimiter=max(",;\t", key=first.count))
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
    """The two parts of a `path label`, `path,label` or `path;label` line; None if there are not two.

    The path may hold spaces and commas. The label is all that follows the last video extension, so it may hold spaces
    too; without an extension it is the last token if that is a whole number, else all after the last comma, semicolon
    or tab, else the last word.
    """
    if match := _AFTER_EXTENSION.fullmatch(text) or _INDEX_LAST.fullmatch(text):
        return match["path"], match["label"]
    for separator in (",", ";", "\t", None):
        parts = [part.strip() for part in text.rsplit(separator, 1)]
        if len(parts) == 2 and all(parts):
            return parts[0], parts[1]
    return None


def label_index(text: str, classes: Mapping[str, int], path: Path, line: int) -> int:
    """The index of the class that `text` names or, where no class has that name, numbers.

    Args:
        text: the label as listed.
        classes: index of each class name.
        path: the list, for messages.
        line: where in it.

    Raises:
        AnnotationError: as `checked_index` and `index_of_class`.
    """
    if is_index(text) and text not in classes:
        return checked_index(text, len(classes), path, line)
    return index_of_class(text, classes, path, line)


def index_of_class(name: str, classes: Mapping[str, int], path: Path, line: int) -> int:
    """The index of class `name`.

    Args:
        name: the label as listed.
        classes: index of each class name.
        path: the list, for messages.
        line: where in it.

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

    Args:
        text: the label as listed.
        num_classes: how many there are, counted from 0.
        path: the list, for messages.
        line: where in it.

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
