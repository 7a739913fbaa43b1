"""JSON with one value replaced, as a damaged or hostile file may hold it."""

import copy
from collections.abc import Iterator
from typing import Any

Place = tuple[str | int, ...]
REMOVED = object()
DEEP: Any = []
for _ in range(200):
    DEEP = [DEEP]
ODD: dict[str, Any] = {
    "null": None,
    "text": "12",
    "number": 3.5,
    "negative": -1,
    "huge": 10**400,
    "infinite": float("inf"),
    "nan": float("nan"),
    "true": True,
    "list": [1],
    "empty list": [],
    "object": {"a": 1},
    "empty object": {},
    "deep": DEEP,
    "removed": REMOVED,
}


def places(document: Any, place: Place = ()) -> Iterator[Place]:
    """Where values stand in a document, lists and objects among them, but for the document itself."""
    items = document.items() if isinstance(document, dict) else enumerate(document)
    for key, item in items:
        yield (*place, key)
        if isinstance(item, dict | list | tuple):
            yield from places(item, (*place, key))


def altered(document: Any, place: Place, value: Any) -> Any:
    """A copy with `value` at `place`, or nothing there if it is `REMOVED`."""
    changed = copy.deepcopy(document)
    node = changed
    *path, last = place
    for key in path:
        node = node[key]
    if value is REMOVED:
        del node[last]
    else:
        node[last] = value
    return changed
