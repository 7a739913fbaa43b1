"""The names of the code: variables that say what they hold, and one class per name."""

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
BANNED = {"found", "asked", "said", "told"}  # a verb tells nobody what a variable holds
TREES = {
    str(path.relative_to(ROOT)): ast.parse(path.read_text(encoding="utf-8"))
    for package in ("tvts_bench", "pretrain")
    for path in sorted((ROOT / package).rglob("*.py"))
}


def test_no_variable_is_named_by_a_verb() -> None:
    bound = (
        (path, node)
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    )
    assert [f"{path}:{node.lineno} {node.id}" for path, node in bound if node.id in BANNED] == []


def test_no_two_public_classes_have_one_name() -> None:
    modules: dict[str, list[str]] = defaultdict(list)
    for path, tree in TREES.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                modules[node.name].append(path)
    assert {name: paths for name, paths in modules.items() if len(paths) > 1} == {}
