"""Plain values become what fields say they are, or are refused by their key."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from tvts_bench.errors import UserError
from tvts_bench.typed_json import MisfitError, typed


@dataclass(frozen=True, kw_only=True)
class Part:
    name: str
    share: float = 0.5

    def __post_init__(self) -> None:
        if self.share > 1:
            raise UserError(f"share must be at most 1, got {self.share}")


@dataclass(frozen=True, kw_only=True)
class Whole:
    parts: tuple[Part, ...] = ()
    pair: tuple[int, float] = (1, 2.0)
    kind: Literal["a", 1] = "a"
    folder: Path | None = None
    is_on: bool = False


def test_values_become_what_fields_are() -> None:
    values = {"parts": [{"name": "x", "share": 1}], "pair": [3.0, 4], "kind": 1, "folder": "~/x", "is_on": True}
    whole = typed(Whole, values)
    assert whole == Whole(
        parts=(Part(name="x", share=1.0),), pair=(3, 4.0), kind=1, folder=Path.home() / "x", is_on=True
    )
    assert [type(each) for each in (*whole.pair, whole.parts[0].share)] == [int, float, float]
    assert typed(Whole, {"folder": None}) == Whole()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"parts": [{"names": "x"}]}, "unknown key 'parts.0.names' (did you mean parts.0.name"),
        ({"parts": [{}]}, "parts.0.name is missing; it has no default"),
        ({"parts": [{"name": "x", "share": 2}]}, "parts.0: share must be at most 1, got 2.0"),
        ({"parts": 3}, "parts must be a list, got 3"),
        ({"parts": [3]}, "parts.0 is a group of keys, got 3; one is parts.0.NAME"),
        ({"pair": [1]}, "pair must be a list of 2, got [1]"),
        ({"pair": [1.5, 1]}, "pair.0 must be a whole number, got 1.5"),
        ({"pair": [2**64, 1]}, "pair.0 must be a whole number of at most 64 bits, got 18446744073709551616"),
        ({"pair": [1, float("inf")]}, "pair.1 must be a finite number, got inf"),
        ({"pair": [True, 1]}, "pair.0 must be a whole number, got True"),
        ({"kind": True}, "kind must be one of a, 1, got True"),
        ({"folder": ""}, "folder must be a path, got ''"),
        ({"is_on": 1}, "is_on must be true or false, got 1"),
        ({"folder": 10**19}, "folder must be a path, got 10000000000000000000"),
        ({"is_on": "y" * 100}, f"is_on must be true or false, got '{'y' * 56}..."),
    ],
)
def test_what_does_not_fit_is_refused_by_its_key(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(MisfitError) as refused:
        typed(Whole, values)
    assert str(refused.value).startswith(sentence)
