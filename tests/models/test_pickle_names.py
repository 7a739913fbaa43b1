"""Pickles read as data."""

import argparse
import builtins
import collections
import io
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tvts_bench.models.pickle_names import GlobalName, named_globals


def scanned(value: Any, protocol: int) -> dict[str, set[str]]:
    return {name.today: uses for name, uses in named_globals(io.BytesIO(pickle.dumps(value, protocol))).items()}


def test_each_name_comes_with_what_is_done_to_it() -> None:
    ordered, space = collections.OrderedDict(a=1, b=2), argparse.Namespace(c=3)
    uses = scanned([ordered, space, collections.Counter], 2)
    assert uses == {
        "collections.OrderedDict": {"REDUCE", "SETITEMS"},
        "argparse.Namespace": {"NEWOBJ", "BUILD"},
        "collections.Counter": set(),
    }


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_names_of_every_protocol_are_found(protocol: int) -> None:
    assert set(scanned({"x": [builtins.eval, argparse.Namespace]}, protocol)) == {"builtins.eval", "argparse.Namespace"}


def test_names_of_python_2_are_given_as_today() -> None:
    assert GlobalName("__builtin__", "eval").today == "builtins.eval"
    assert GlobalName("exceptions", "ValueError").today == "builtins.ValueError"
    assert GlobalName("ConfigParser", "ConfigParser").today == "configparser.ConfigParser"
    assert str(GlobalName("exceptions", "ValueError")) == "exceptions.ValueError"


def test_the_file_is_left_after_the_first_pickle() -> None:
    file = io.BytesIO(pickle.dumps(1) + pickle.dumps(collections.Counter))
    assert named_globals(file) == {}
    assert [name.today for name in named_globals(file)] == ["collections.Counter"]


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner) | st.frozensets(st.text())
    ),
    max_leaves=20,
)


@given(PLAIN, st.sampled_from([2, 4, 5]))
def test_plain_values_name_nothing_but_containers(value: Any, protocol: int) -> None:
    assert set(scanned(value, protocol)) <= {"builtins.frozenset", "builtins.bytes", "_codecs.encode"}
