"""What is said where the transformers library is missing or too old."""

import sys
import types

import pytest

from tvts_bench.backbones._conversion.timesformer import TimeSformer, TimeSformerConfig
from tvts_bench.backbones.base import BackboneError, from_transformers


def test_a_class_is_found() -> None:
    assert from_transformers("TimesformerModel").__name__ == "TimesformerModel"


def test_a_missing_library_is_one_sentence_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(BackboneError, match=r"needs the library transformers.*pip install transformers$"):
        TimeSformer(TimeSformerConfig())


def test_a_library_that_is_too_old_is_named_with_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    old = types.ModuleType("transformers")
    old.__version__ = "4.1"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "transformers", old)
    with pytest.raises(BackboneError, match=r"transformers 4\.1 has no VJEPA2Model: pip install --upgrade"):
        from_transformers("VJEPA2Model")
