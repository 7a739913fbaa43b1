"""Lists of videos with their labels: `path label` a line, or a table with a header, as the field's tools write them.

    videos/a.mp4 3                       VideoMAE, PySlowFast, mmaction2
    a.mp4,riding a bike                  by hand
    clip_name,clip_path,label,split      exports of tables, in any order of columns, with or without an index

What a column means follows from its name, or from holding the names of videos. Where it does not, the list is
refused with its line and the way out: a wrong guess is a benchmark of other classes.
"""

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from tvts_bench.datasets.base import AnnotationError, DatasetError
from tvts_bench.datasets.files import SPLIT_WORDS, is_video_name
from tvts_bench.datasets.lines import is_index, read_lines, split_path_and_label

PATHS = frozenset({
    "path", "video", "video_path", "videopath", "filename", "file_name", "file", "filepath", "file_path", "name",
    "video_name", "videoname", "clip", "clip_name", "clip_path", "video_file", "clip_file", "relative_path", "uri",
})  # fmt: skip
LABELS = frozenset({
    "label", "class", "category", "target", "label_id", "class_id", "label_name", "class_name", "classname",
    "labels", "tag", "action", "action_name", "action_label", "activity", "class_index", "class_idx", "label_index",
    "label_idx", "y",
})  # fmt: skip
SPLITS = frozenset({"split", "subset", "partition", "set"})
PARTS = frozenset({
    "start", "end", "stop", "start_time", "end_time", "time_start", "time_end", "start_sec", "end_sec", "t_start",
    "t_end", "start_second", "end_second", "start_frame", "end_frame", "stop_frame", "begin", "start_s", "end_s",
})  # fmt: skip
DELIMITERS = ("\t", ";", ",", None)  # None: white space
WAY_OUT = "begin the list with a header such as path,label,split"


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One video of a list."""

    line: int
    path: str
    label: str
    split: str | None = None  # as `SPLIT_WORDS` has it where that knows it; None: the list has no such column


@dataclass(frozen=True, kw_only=True)
class _Header:
    line: int
    fields: tuple[str, ...]  # as written
    delimiter: str | None

    @property
    def names(self) -> list[str]:
        """The names of the columns in lower case, with `_` for what is neither letter nor digit."""
        return ["".join(c if c.isalnum() else "_" for c in field.lower()).strip("_") for field in self.fields]


def read_rows(path: Path, split: str | None = None) -> list[Row]:
    """The videos that a list names, in its order.

    Args:
        path: the list. Blank lines and those that begin with `#` are no rows.
        split: what the list is read as; None takes every row.

    Raises:
        AnnotationError: a line that cannot be read or be understood in one way only; a row of another split.
        DatasetError: an empty list.
    """
    lines = list(_content(path))
    header = _header(lines)
    texts = [(line, text) for line, text in lines[header is not None :] if not text.startswith("#")]
    rows = _table(path, header, texts) if header else _free_rows(path, texts)
    if not rows:
        raise DatasetError(f"{path} lists no video")
    for row in rows:
        if split and row.split and row.split != split:
            raise AnnotationError(path, row.line, f"split {row.split!r} in a list read as {split}")
    return rows


def part_columns(path: Path) -> list[str]:
    """The columns of a list that name a part of each video, which nothing here reads: videos are taken whole."""
    header = _header(list(_content(path)))
    return (
        []
        if header is None
        else [field for field, name in zip(header.fields, header.names, strict=True) if name in PARTS]
    )


def _content(path: Path) -> Iterator[tuple[int, str]]:
    """The lines that are no comments, and those before the first of them."""
    begun = False
    for line, text in read_lines(path):
        if text.startswith("#"):
            parts = split_path_and_label(text)
            if not text.startswith("# ") and parts and is_video_name(parts[0].removesuffix('"')):
                problem = f"a comment, or a name that begins with #? {text[:80]!r}: write `# ` before a comment"
                raise AnnotationError(path, line, f'{problem}, and the name in quotes, "#..."')
            if begun:
                continue
        else:
            begun = True
        yield line, text


def _header(lines: list[tuple[int, str]]) -> _Header | None:
    """The header, which may stand behind `#`; comments before the first row are taken off `lines`."""
    at = next((i for i, (_, text) in enumerate(lines) if not text.startswith("#")), len(lines))
    behind_sign = _as_header(lines[at - 1][0], lines[at - 1][1].lstrip("# "), None) if at else None
    del lines[: at - 1 if behind_sign else at]
    if behind_sign or not lines:
        return behind_sign
    return _as_header(*lines[0], lines[1][1] if len(lines) > 1 else None)


def _as_header(line: int, text: str, following: str | None) -> _Header | None:
    """`text` as a header, if it names no video and either known columns or, unlike the row `following`, no path."""
    for delimiter in DELIMITERS:
        fields = _fields(text, delimiter) or []
        if len(fields) < 2:
            continue
        header = _Header(line=line, fields=tuple(fields), delimiter=delimiter)
        names = set(header.names)
        if any(is_video_name(field) for field in fields) or is_index(fields[-1]):
            return None
        known = names & (PATHS | LABELS | SPLITS)
        if len(known) > 1 and names & LABELS and (delimiter or known == names):
            return header
        row = _fields(following, delimiter) if following else None
        if row and len(row) == len(fields) and any(is_video_name(field) for field in row):
            return header
    return None


def _fields(text: str, delimiter: str | None) -> list[str] | None:
    """The fields of a line, stripped; None where quotes are not closed."""
    if delimiter is None:
        return text.split()
    if '"' not in text:
        return [field.strip() for field in text.split(delimiter)]
    if text.count('"') % 2:
        return None
    try:
        return [field.strip() for field in next(csv.reader([text], delimiter=delimiter, skipinitialspace=True))]
    except csv.Error:  # a field of more than 128 KiB
        return None


def _table(path: Path, header: _Header, texts: Sequence[tuple[int, str]]) -> list[Row]:
    """The rows below a header."""
    if header.fields and len(header.fields) == 2 and header.names[0] in PATHS and header.names[1] in LABELS:
        return _free_rows(path, texts)  # names of files may hold commas there
    table = []
    for line, text in texts:
        fields = _fields(text, header.delimiter)
        if fields is None or len(fields) != len(header.fields):
            count = "quotes that are not closed" if fields is None else f"{len(fields)} fields"
            raise AnnotationError(
                path, line, f"{count}, the header has {len(header.fields)}; put quotes around each value"
            )
        if fields == list(header.fields):
            raise AnnotationError(path, line, "the header once more; leave it out")
        table.append((line, fields))
    at_path, at_label, at_split = _columns(path, header, [fields for _, fields in table])
    rows = []
    for line, fields in table:
        chosen = [fields[at] for at in (at_path, at_label, at_split) if at is not None]
        if not all(chosen):
            raise AnnotationError(path, line, f"an empty field among {', '.join(map(repr, chosen))}")
        split = _split(fields[at_split]) if at_split is not None else None
        rows.append(Row(line=line, path=fields[at_path], label=fields[at_label], split=split))
    return rows


def _columns(path: Path, header: _Header, rows: Sequence[Sequence[str]]) -> tuple[int, int, int | None]:
    """Which columns hold the paths, the labels and, where there is one, the splits."""
    names = dict(enumerate(header.names))

    def refuse(problem: str) -> NoReturn:
        columns = ", ".join(header.fields)[:200]
        if "youtube_id" in header.names:
            problem = f"a list of Kinetics, which --dataset k400 reads: {problem}"
        raise AnnotationError(
            path, header.line, f"{problem} among the columns {columns}; name them path, label and split"
        )

    def holds_videos(at: int) -> bool:
        return bool(rows) and all(is_video_name(row[at]) for row in rows)

    paths = [at for at, name in names.items() if name in PATHS]
    if len(paths) != 1:
        paths = [at for at in paths or names if holds_videos(at)]
    if len(paths) != 1:
        refuse(f"{'several columns' if paths else 'no column'} of paths")
    splits = [at for at, name in names.items() if name in SPLITS]
    if len(splits) > 1:
        refuse("several columns of splits")
    labels = [at for at, name in names.items() if name in LABELS and at != paths[0]]
    others = [
        at for at, name in names.items() if name and not name.startswith("unnamed") and at not in (*paths, *splits)
    ]
    if not labels and len(others) == 1:
        labels = others
    if not labels:
        refuse("no column of labels")
    pairs = {tuple(row[at] for at in labels) for row in rows}
    if any(len({pair[i] for pair in pairs}) < len(pairs) for i in range(len(labels))):
        refuse("several columns of labels that are not the same classes")
    named = [at for at in labels if not all(is_index(row[at]) for row in rows)]  # the name rather than its number
    return paths[0], (named or labels)[0], splits[0] if splits else None


@dataclass(frozen=True, kw_only=True, slots=True)
class _FreeRow:
    """A line without a header: what is certain of it."""

    line: int
    path: str
    label: str
    more: tuple[str, ...]  # fields behind the label
    is_words: bool  # whether the label is all words that follow the path, not one field


def _free_rows(path: Path, texts: Sequence[tuple[int, str]]) -> list[Row]:
    """Rows without a header: a path, a label and, where every row has one, a split."""
    rows = [_free_row(path, line, text) for line, text in texts]
    if rows and all(len(row.more) == 1 and row.more[0].lower() in SPLIT_WORDS for row in rows):
        return [Row(line=row.line, path=row.path, label=row.label, split=_split(row.more[0])) for row in rows]
    for row in rows:
        if row.more:
            columns = ", ".join((row.path, row.label, *row.more))
            problem = f"{2 + len(row.more)} fields, and nothing says what the last mean: {columns[:80]!r}; {WAY_OUT}"
            raise AnnotationError(path, row.line, f"{problem}, or put quotes around a label that holds the separator")
    for is_other in (lambda word: word.lower() in SPLIT_WORDS, is_index):
        if rows and all(row.is_words and _ends_in(row.label, is_other) for row in rows):
            first = rows[0].label
            problem = f"is {first.split()[-1]!r} a part of the label {first!r}, or a column of its own?"
            raise AnnotationError(path, rows[0].line, f"{problem} Put quotes around the labels, or {WAY_OUT}")
    return [Row(line=row.line, path=row.path, label=row.label) for row in rows]


def _ends_in(label: str, is_other: Callable[[str], bool]) -> bool:
    """Whether the last of the label's words may be something else than a part of it."""
    words = label.split()
    numbers = is_index(words[0]) and is_index(words[-1])  # whoever reads the rows says more of those
    return len(words) > 1 and not numbers and is_other(words[-1])


def _free_row(path: Path, line: int, text: str) -> _FreeRow:
    parts = split_path_and_label(text)
    if parts is None:
        raise AnnotationError(path, line, f"expected `path label`, got {text[:80]!r}")
    name, label = parts
    is_video = is_video_name(_unquoted(name))
    delimiter = text[len(name) : len(text) - len(label)].strip(" ")[:1]
    if delimiter not in DELIMITERS:  # no-break spaces and the like
        delimiter = ""
    if not delimiter:
        fields: list[str] | None = [_unquoted(label)]
    elif is_video:
        fields = _fields(label, delimiter)
    else:  # without an ending, nothing tells where the path ends but the first separator
        fields = _fields(text, delimiter)
        name, fields = (fields[0], fields[1:]) if fields else (name, None)
    if not fields:
        raise AnnotationError(path, line, f"quotes that are not closed: {text[:80]!r}")
    while len(fields) > 1 and not fields[-1]:  # a separator at the end of the line
        fields.pop()
    if not is_video and is_video_name(fields[0]):
        problem = f"the label stands before the path: {text[:80]!r}"
        raise AnnotationError(path, line, f"{problem}; begin the list with the header label,path")
    is_words = not delimiter and fields[0] == label
    return _FreeRow(line=line, path=_unquoted(name), label=fields[0], more=tuple(fields[1:]), is_words=is_words)


def _unquoted(text: str) -> str:
    """CSV quoting undone: `"a ""b"".mp4"` is `a "b".mp4`."""
    quoted = len(text) > 1 and text[0] == text[-1] == '"'
    return text[1:-1].replace('""', '"') if quoted else text


def _split(text: str) -> str:
    return SPLIT_WORDS.get(text.lower(), text)
