"""Which gallery items a query may not find: itself, by id, and on request its group."""

from collections import Counter

import numpy as np

from tvts_bench.neighbors.base import BoolArray, Embedded, IntArray, NeighborError


class Exclusion:
    """The gallery items taken away from each query."""

    def __init__(self, queries: Embedded, gallery: Embedded, *, same_group: bool) -> None:
        """Look up every query's own row and group in the gallery.

        Raises:
            NeighborError: the gallery holds an id twice, or groups are asked for and missing.
        """
        row_of = {name: row for row, name in enumerate(gallery.ids)}
        if len(row_of) < len(gallery.ids):
            twice = next(name for name, count in Counter(gallery.ids).items() if count > 1)
            raise NeighborError(f"the gallery holds {twice!r} more than once: ids must be unique")
        self.own: IntArray = np.array([row_of.get(name, -1) for name in queries.ids], dtype=np.int64)  # [Q]
        self.excluded: IntArray = (self.own >= 0).astype(np.int64)  # [Q] how many items
        self.same_group = same_group
        self.gallery_size = len(gallery.ids)
        if same_group:
            self._exclude_groups(queries, gallery)

    def _exclude_groups(self, queries: Embedded, gallery: Embedded) -> None:
        if queries.groups is None or gallery.groups is None:
            side = "queries" if queries.groups is None else "gallery"
            raise NeighborError(f"same-group neighbours cannot be excluded: the {side} have no groups")
        codes = {group: code for code, group in enumerate(dict.fromkeys(gallery.groups)) if group is not None}
        self.gallery_group = np.array([codes.get(group, -1) for group in gallery.groups], dtype=np.int64)  # type: ignore[arg-type]
        self.query_group = np.array([codes.get(group, -2) for group in queries.groups], dtype=np.int64)  # type: ignore[arg-type]
        sizes = np.bincount(self.gallery_group + 1, minlength=len(codes) + 2)
        outside = (self.own >= 0) & (self.gallery_group[self.own] != self.query_group)
        self.excluded = np.where(self.query_group >= 0, sizes[self.query_group + 1], 0) + outside

    def require(self, k: int) -> None:
        """Refuse a K that no query can have.

        Raises:
            NeighborError: with the size of the gallery and of what is left of it.
        """
        if k < 1:
            raise NeighborError(f"--k must be at least 1, got {k}")
        left = self.gallery_size - int(self.excluded.min(initial=self.gallery_size))
        if len(self.own) and k > left:
            without = "without the query itself" + (" and its group" if self.same_group else "")
            detail = f", {left} {without}" if left < self.gallery_size else ""
            raise NeighborError(f"--k {k} is larger than the gallery: {self.gallery_size} clips{detail}")

    def mask(self, rows: IntArray, found: IntArray) -> BoolArray:
        """Whether `found` [B, M] (or [1, M] for all) may not be found by the queries `rows` [B]."""
        masked: BoolArray = found == self.own[rows, None]
        if self.same_group:
            masked |= self.gallery_group[found] == self.query_group[rows, None]
        return masked
