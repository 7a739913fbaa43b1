"""Queries with their nearest neighbours: of the classes with the worst recall first, hits and misses marked."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tvts_bench.regular_file import require_regular
from tvts_bench.report.groups import Group, Member
from tvts_bench.report.videos import Strip, Strips, Videos, find_videos
from tvts_bench.results.per_sample import table_path
from tvts_bench.runtime import Progress, silent

NEIGHBORS, BACKBONES = 5, 4  # shown of a query, and of a group
COLUMNS = {
    **{"seed": "int64", "query": "string", "query_label": "int64", "rank": "int64", "neighbor": "string"},
    **{"neighbor_label": "int64", "similarity": "float64", "hit": "bool_"},
}
"""Of the table of neighbours, with their types."""
NeighborRows = dict[str, list[Mapping[str, Any]]]
"""Query -> its nearest neighbours, nearest first; `COLUMNS` of each."""


@dataclass(frozen=True, kw_only=True)
class Neighbor:
    """A neighbour of a query."""

    rank: int
    id: str
    class_name: str
    similarity: float
    hit: bool
    strip: Strip | None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The neighbours of a query in one backbone's features."""

    number: int  # of the backbone, as in `GalleryView.backbones`
    neighbors: tuple[Neighbor, ...]

    @property
    def first_hit(self) -> int | None:
        """Rank of the first clip of the query's class among those shown."""
        return next((neighbor.rank for neighbor in self.neighbors if neighbor.hit), None)


@dataclass(frozen=True, kw_only=True)
class Query:
    """A query and its neighbours."""

    id: str
    class_name: str
    recalls: tuple[float, ...]  # R@1 of its class over all its queries, percent: mean of the backbones, then each
    strip: Strip | None
    answers: tuple[Answer, ...]


@dataclass(frozen=True, kw_only=True)
class GalleryView:
    """The gallery of one group."""

    name: str
    title: str
    backbones: tuple[str, ...]
    queries: tuple[Query, ...] = ()
    total: int = 0  # queries that were measured
    notes: tuple[str, ...] = field(default=())

    @property
    def classes(self) -> tuple[tuple[str, float], ...]:
        """Those that are shown, with their mean recall, by name."""
        return tuple(sorted({(query.class_name, query.recalls[0]) for query in self.queries}))


def gallery(
    group: Group, count: int, strips: Strips, roots: Mapping[str, Path], progress: Progress = silent
) -> GalleryView | None:
    """The gallery of a group of retrieval results; None for another protocol.

    Args:
        group: results over the same queries.
        count: queries to show.
        strips: takes the pictures.
        roots: data set -> folder, where the videos are elsewhere than where they were measured.
        progress: shows how the videos are read.

    Returns:
        Queries with pictures, and notes on what is not shown.
    """
    if group.members[0].result.run.evaluator.get("name") != "zero_shot_retrieval" or count == 0:
        return None
    ranked = sorted(group.members, key=lambda each: (-each.result.metrics[0].value, each.name))
    tables: dict[str, NeighborRows] = {}
    notes: list[str] = []
    for member in ranked:
        try:
            tables[member.name] = _read(member)
        except ValueError as error:
            notes.append(f"Not shown: the neighbours of {member.name} ({error}).")
    if len(tables) > BACKBONES:
        notes.append(f"Of {len(tables)} backbones the {BACKBONES} with the best R@1 are shown.")
    title = f"{group.title}, {group.data}"
    shown = list(tables)[:BACKBONES]
    if not shown:
        return GalleryView(name=group.name, title=title, backbones=(), notes=tuple(notes))
    neighbors = _Neighbors([tables[name] for name in shown])
    videos = find_videos(ranked[0].result, roots)
    chosen = neighbors.chosen(count)
    queries = tuple(_shown(neighbors, chosen, videos, strips, progress))
    notes += _about_pictures(videos, queries, len(chosen), strips)
    return GalleryView(
        name=group.name,
        title=title,
        backbones=tuple(shown),
        queries=queries,
        total=len(neighbors.labels),
        notes=tuple(notes),
    )


class _Neighbors:
    """The neighbours that each of several backbones found for the same queries."""

    def __init__(self, tables: Sequence[NeighborRows]) -> None:
        self.tables = tables
        self.labels = {query: int(rows[0]["query_label"]) for table in tables for query, rows in table.items()}
        each = [_recall(table) for table in tables]
        self.recalls: dict[int, tuple[float, ...]] = {}
        for label in sorted(set(self.labels.values())):
            known = [one[label] for one in each if label in one]
            mean = sum(known) / len(known)
            self.recalls[label] = (mean, *(one.get(label, mean) for one in each))

    def chosen(self, count: int) -> list[str]:
        """Queries by class, the worst class first: of each the one that finds least and the one that finds most.

        Then the next ones of each, until there are `count`.
        """
        by_class: dict[int, list[str]] = {}
        for query in sorted(self.labels, key=lambda query: (self._hits(query), query)):
            by_class.setdefault(self.labels[query], []).append(query)
        classes = sorted(by_class, key=lambda label: (self.recalls[label][0], label))
        chosen: list[str] = []
        while len(chosen) < min(count, len(self.labels)):
            for label in classes:
                chosen += [by_class[label].pop(end) for end in (0, -1) if by_class[label]]
        return chosen[:count]

    def _hits(self, query: str) -> float:
        """Over all backbones: hits among those shown, near ones first."""
        return sum(float(row["hit"]) / float(row["rank"]) for table in self.tables for row in table.get(query, ()))


def _recall(table: NeighborRows) -> dict[int, float]:
    """R@1 of the queries of each class, percent."""
    hits: dict[int, list[bool]] = {}
    for rows in table.values():
        hits.setdefault(int(rows[0]["query_label"]), []).append(bool(rows[0]["hit"]) and rows[0]["rank"] == 1)
    return {label: 100 * sum(each) / len(each) for label, each in hits.items()}


def _shown(
    neighbors: _Neighbors, chosen: Sequence[str], videos: Videos, strips: Strips, progress: Progress
) -> Iterator[Query]:
    """The chosen queries, until the pictures are as many bytes as a page may have."""

    def strip(name: str) -> Strip | None:
        path = videos.paths.get(name)
        return None if path is None else strips.add(path)

    def neighbor(row: Mapping[str, Any]) -> Neighbor:
        return Neighbor(
            rank=int(row["rank"]),
            id=str(row["neighbor"]),
            class_name=videos.class_name(int(row["neighbor_label"])),
            similarity=float(row["similarity"]),
            hit=bool(row["hit"]),
            strip=strip(str(row["neighbor"])),
        )

    with progress(len(chosen), "queries", "pictures") as advance:
        for query in chosen:
            label = neighbors.labels[query]
            shown = Query(
                id=query,
                class_name=videos.class_name(label),
                recalls=neighbors.recalls[label],
                strip=strip(query),
                answers=tuple(
                    Answer(number=number, neighbors=tuple(map(neighbor, table[query])))
                    for number, table in enumerate(neighbors.tables)
                    if query in table
                ),
            )
            advance(1)
            if strips.is_full:
                return
            yield shown


def _about_pictures(videos: Videos, queries: Sequence[Query], chosen: int, strips: Strips) -> Iterator[str]:
    if videos.problem:
        yield f"No pictures: {videos.problem}."
    elif strips.failed:
        first = sorted(strips.failed.items())[0]
        count = len(strips.failed)
        yield f"{count} of the videos cannot be read; the first is {first[0].name}: {first[1]}."
    if len(queries) < chosen:
        yield (
            f"{chosen - len(queries)} of {chosen} queries are left out, since pictures may take"
            f" {strips.limit / 2**20:.0f} MiB of a page."
        )


def _read(member: Member) -> NeighborRows:
    """The neighbours beside the result, of its first seed.

    Raises:
        ValueError: they are not there, or the file is damaged or holds something else.
    """
    import pyarrow as pa
    from pyarrow import compute, parquet

    path = table_path(member.stored.path, "neighbors")
    try:
        require_regular(path)
        table = parquet.read_table(path, columns=list(COLUMNS), filters=[("rank", "<=", NEIGHBORS)])
        table = table.cast(pa.schema([(name, getattr(pa, kind)()) for name, kind in COLUMNS.items()]))
        table.validate(full=True)
        odd = table.num_rows == 0 or any(column.null_count for column in table.columns)
        if odd or compute.min(table["rank"]).as_py() < 1 or not compute.all(compute.is_finite(table["similarity"])):
            raise ValueError("empty, or values that are none")
    except (OSError, ValueError, pa.ArrowException) as error:
        raise ValueError(f"{path.name} cannot be read: {error}") from error
    rows = table.to_pylist()
    first = min(row["seed"] for row in rows)
    by_query: NeighborRows = {}
    for row in sorted((row for row in rows if row["seed"] == first), key=lambda row: (row["query"], row["rank"])):
        by_query.setdefault(row["query"], []).append(row)
    return by_query
