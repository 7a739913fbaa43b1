"""Digests tell apart what differs, and only that; versions name what ran."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tvts_bench.provenance import WHERE_SET, canonical, digest, file_sha256, versions
from tvts_bench.version import VERSION


@dataclass(frozen=True)
class Probe:
    lr: float = 0.1


@dataclass(frozen=True)
class Finetune:
    lr: float = 0.1


@dataclass(frozen=True)
class Nested:
    protocol: Probe | Finetune
    ks: tuple[int, ...] = (1, 5)


def test_two_protocols_with_equal_fields_differ() -> None:
    assert digest(Probe()) != digest(Finetune())
    assert digest(Nested(Probe())) != digest(Nested(Finetune()))
    assert digest(Nested(Probe())) == digest(Nested(Probe()))


def test_canonical_is_plain_json() -> None:
    assert canonical({"a": Nested(Probe(0.2)), 3: Path("x/y"), "n": None}) == {
        "a": {"type": "Nested", "protocol": {"type": "Probe", "lr": 0.2}, "ks": [1, 5]},
        "3": "x/y",
        "n": None,
    }


def test_a_setting_that_was_added_later_counts_where_it_is_set() -> None:
    @dataclass(frozen=True)
    class Before:
        frames: int = 16

    @dataclass(frozen=True)
    class After:
        frames: int = 16
        views: int = field(default=0, metadata=WHERE_SET)

    After.__name__ = "Before"
    assert digest(After()) == digest(Before())
    assert digest(After(views=1)) != digest(Before())
    assert canonical(After(views=1)) == {"type": "Before", "frames": 16, "views": 1}


def test_a_digest_is_the_sha256_of_the_canonical_text() -> None:
    assert digest({"b": 1, "a": [True, "é"]}) == hashlib.sha256(b'{"a":[true,"\\u00e9"],"b":1}').hexdigest()


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=8
)


def as_json(value: Any) -> Any:
    """With types, since 1 == True == 1.0 in Python but not in JSON."""
    if isinstance(value, list):
        return [as_json(item) for item in value]
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    return repr(value)


@given(values, values)
def test_digests_agree_exactly_when_values_do(a: Any, b: Any) -> None:
    assert (digest(a) == digest(b)) == (as_json(a) == as_json(b))


@given(st.dictionaries(st.text(), scalars))
def test_the_order_of_keys_does_not_count(mapping: dict[str, Any]) -> None:
    assert digest(mapping) == digest(dict(reversed(mapping.items())))


@pytest.mark.parametrize("value", [{1, 2}, object(), b"x", Probe])
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="cannot digest"):
        digest({"field": value})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_json_does_not_have_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        digest(value)


@pytest.mark.parametrize("content", [b"", b"abc", bytes(300_000)])
def test_file_sha256_is_that_of_the_bytes(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    assert file_sha256(path) == hashlib.sha256(content).hexdigest()


def test_versions_name_what_is_installed() -> None:
    import numpy as np

    found = versions()
    assert found["tvts-bench"] == VERSION
    assert found["numpy"] == np.__version__
    assert {"python", "platform", "torch"} <= set(found)
    assert len({"faiss-cpu", "faiss-gpu"} & set(found)) == 1
