"""The names of the code: the field's words, and one meaning per name."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BANNED = {"found", "asked", "said", "told", "alike", "standing"}  # verbs for variables tell a reader nothing
FILES = sorted(path for package in ("tvts_bench", "pretrain") for path in (ROOT / package).rglob("*.py"))


def _bound_names(tree: ast.AST) -> Iterator[ast.Name]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_variables_have_names_that_say_what_they_hold(path: Path) -> None:
    banned = [f"{node.id} on line {node.lineno}" for node in _bound_names(ast.parse(path.read_text())) if node.id in BANNED]
    assert not banned


def test_no_two_public_classes_have_one_name() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path in FILES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(str(path.relative_to(ROOT)))
    assert {name: files for name, files in places.items() if len(files) > 1} == {}
