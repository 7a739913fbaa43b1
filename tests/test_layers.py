"""Imports point down: the source of both packages is read, and what must import nothing heavy is imported alone."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# The parts of tvts_bench from the top down. A part imports itself and the layers below it, nothing else.
LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"__main__"}),
    frozenset({"cli"}),
    frozenset({"table_runs", "report", "testing"}),
    frozenset({"ablations", "tables"}),
    frozenset({"check", "evaluation", "embed_files"}),
    frozenset({"results"}),
    frozenset({"evaluators"}),
    frozenset({"probes", "training"}),
    frozenset({"features"}),
    frozenset({"backbones"}),
    frozenset({"models", "video"}),
    frozenset({"datasets", "metrics", "neighbors"}),
    frozenset({"distributed"}),
    frozenset({"devices", "snapshot"}),
    frozenset(
        {
            "registry",
            "provenance",
            "runtime",
            "torchvision_ops",
            "atomic",
            "confusion_plot",
            "processes",
        }
    ),
    frozenset({"config_fields", "typed_json"}),
    frozenset({"errors", "version", "regular_file", "printable", "signals"}),
)
DEPTH = {part: depth for depth, parts in enumerate(LAYERS) for part in parts}
FOR_PRETRAINING = {
    "training",
    "models",
    "video",
    "datasets",
    "registry",
    "provenance",
    "runtime",
    "devices",
    "distributed",
    "snapshot",
    "processes",
}
FOR_PRETRAINING |= {
    "torchvision_ops",
    "atomic",
    "regular_file",
    "errors",
    "config_fields",
    "typed_json",
    "version",
    "signals",
    "cli",
}  # cli: the console and the error handling of both
NO_TORCH = ("datasets", "metrics", "neighbors", "results", "tables")
HEAVY = ("torch", "pandas", "faiss", "av", "decord", "sklearn", "pyarrow", "timm", "transformers", "torchvision")


@cache
def imports(path: Path) -> frozenset[str]:
    """Every module that a file imports at any level, by its full name; for `from a import b` both a and a.b."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative imports hide where they point"
            found |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(found)


def modules(package: str) -> Iterator[tuple[str, Path]]:
    """Name and file of every module of a package."""
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def part(name: str) -> str | None:
    """The part of tvts_bench that a module belongs to; None for the package itself and for all else."""
    top, _, rest = name.partition(".")
    return rest.partition(".")[0] or None if top == "tvts_bench" else None


def parts_of(names: frozenset[str]) -> set[str]:
    """The parts among imported names. What `tvts_bench` itself offers is none: it is for users, not for its parts."""
    return {found for name in names if (found := part(name))}


BENCH = [(name, path) for name, path in modules("tvts_bench") if part(name)]


def test_the_source_is_found() -> None:
    assert len(BENCH) > 20


@pytest.mark.parametrize(("name", "path"), BENCH, ids=[name for name, _ in BENCH])
def test_imports_point_down(name: str, path: Path) -> None:
    own = part(name)
    assert own in DEPTH, f"{name} belongs to no layer: say in tests/test_layers.py what it may import"
    for imported in parts_of(imports(path)):
        assert imported in DEPTH, f"{name} imports tvts_bench.{imported}, which is in no layer"
        assert imported == own or DEPTH[imported] > DEPTH[own], (
            f"{name} imports tvts_bench.{imported}, which is not below"
        )


@pytest.mark.parametrize(("name", "path"), list(modules("tvts_bench")), ids=[name for name, _ in modules("tvts_bench")])
def test_the_benchmark_never_imports_pretraining(name: str, path: Path) -> None:
    assert not {imported for imported in imports(path) if imported.partition(".")[0] == "pretrain"}


@pytest.mark.parametrize(("name", "path"), list(modules("pretrain")), ids=[name for name, _ in modules("pretrain")])
def test_pretraining_imports_only_what_it_may(name: str, path: Path) -> None:
    assert parts_of(imports(path)) <= FOR_PRETRAINING


PACKAGES = ("backbones", "datasets", "evaluators")


@pytest.mark.parametrize("package", PACKAGES)
def test_a_plugin_never_imports_its_sibling(package: str) -> None:
    plugins = import_module(f"tvts_bench.{package}").PLUGINS
    prefix = f"tvts_bench.{package}."
    for name, path in modules("tvts_bench"):
        own = name.removeprefix(prefix).partition(".")[0]
        if not name.startswith(prefix) or own not in plugins:
            continue
        siblings = {imported.removeprefix(prefix).partition(".")[0] for imported in imports(path) if prefix in imported}
        assert not (siblings & set(plugins)) - {own}, f"{name} imports its sibling"


def imported_by(*names: str) -> set[str]:
    """Top-level names of everything in `sys.modules` after importing `names` in a fresh interpreter."""
    code = f"import sys, importlib; [importlib.import_module(n) for n in {names!r}]; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    return {module.partition(".")[0] for module in done.stdout.split()}


def test_parts_without_torch_import_none_on_any_way() -> None:
    names = [name for name, _ in BENCH if part(name) in NO_TORCH]
    assert len(names) > 10
    assert "torch" not in imported_by(*names)


def test_the_command_line_and_the_package_start_light() -> None:
    assert not imported_by("tvts_bench", "tvts_bench.cli.main") & set(HEAVY)


def test_only_the_command_line_prints() -> None:
    printing = [
        name
        for name, path in modules("tvts_bench")
        if part(name) != "cli"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not printing


def test_csv_is_written_in_one_place() -> None:
    """The lists of the built-in synthetic set are not for spreadsheets but in the layout of the official ones."""
    writing = {
        name
        for package in ("tvts_bench", "pretrain")
        for name, path in modules(package)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in ("writer", "DictWriter", "to_csv", "savetxt")
    }
    assert writing == {"tvts_bench.printable", "tvts_bench.datasets.scripted_motion.layouts"}


def test_the_consoles_are_those_that_print_text_as_text() -> None:
    making = {
        name
        for package in ("tvts_bench", "pretrain")
        for name, path in modules(package)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Console"
    }
    assert making == {"tvts_bench.tables.render"}  # which measures with it
