"""Results as a user names them: files, folders, grids or results at hand, each under the name of its model.

A model is called as shortly as tells it from the others that it stands beside.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tvts_bench.errors import did_you_mean
from tvts_bench.results.archive import is_archive
from tvts_bench.results.files import backbone_fact, load, read_json
from tvts_bench.results.grids import PRETRAIN, GridError, grid_names, grid_roots, read_cell, read_grid, stage_results
from tvts_bench.results.index import StoredResult, created
from tvts_bench.results.result import Result, ResultError

if TYPE_CHECKING:
    import pandas as pd

    from tvts_bench.results.compare import Comparison

Source = Path | str | Result
"""A JSON file, a folder or an archive, with `NAME=` before a path to call its model so; or a result."""

NOT_RESULTS = ("tables", "grids", "cells")  # folders below one of results, whose JSON is something else
SET_ASIDE = re.compile(r"-[0-9a-f]{12}\.\d+\.json$")
PARTS = frozenset({"run", "metrics", "coverage", "provenance"})  # JSON with several of them means to be a result
MANY = 20  # models that are named in a message or a representation
RANDOM = "RANDOM"  # behind the name of a model whose weights are not trained
GIVEN = "name "  # before an identity that is a given name


@dataclass(frozen=True, kw_only=True, eq=False)
class NamedResult:
    """A result, the model that it is of, and which seed of pretraining."""

    model: str  # unique to the model among the results that were read together
    stored: StoredResult
    seed: int | None = None  # of pretraining; None where the backbone is given

    @property
    def result(self) -> Result:
        """The result."""
        return self.stored.result


@dataclass(frozen=True, kw_only=True, eq=False)
class Results(Sequence[Result]):
    """Results of one or many models, in the order in which they were given; a sequence of `Result`."""

    named: tuple[NamedResult, ...]
    passed_over: tuple[str, ...] = ()  # a sentence for each file that was left out

    def __len__(self) -> int:
        return len(self.named)

    def __getitem__(self, index: Any) -> Any:
        return self.named[index].result if isinstance(index, int) else [each.result for each in self.named[index]]

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models, each once."""
        return tuple(dict.fromkeys(each.model for each in self.named))

    def model(self, name: str) -> str:
        """The model that a user means by `name`: its name, its file, or a part of the name that no other one has.

        Raises:
            ResultError: none or several are called so.
        """
        of_file = (each.model for each in self.named if str(each.stored.path) == name)
        if name in self.models or (name := next(of_file, name)) in self.models:
            return name
        parts = [model for model in self.models if name.lower() in model.lower()]
        if len(parts) == 1:
            return parts[0]
        shown = "; ".join(self.models[:MANY])
        raise ResultError(
            f"{'several models are' if parts else 'no model is'} called {name}{did_you_mean(name, self.models)}:"
            f" there are {shown}"
        )

    def to_pandas(self) -> "pd.DataFrame":
        """One row per result, condition and metric; percent, with all that tells rows apart."""
        import pandas as pd

        from tvts_bench.results.export import COLUMNS, tidy_rows

        return pd.DataFrame(list(tidy_rows(self)), columns=list(COLUMNS))

    def rank(self, metric: str | None = None) -> "pd.DataFrame":
        """Models x tasks in percent with the mean rank, the best model first.

        Args:
            metric: "R@5", for example; None: the main one of each protocol (R@1, top-1).

        Returns:
            Indexed by model; a number that was not measured is NaN.

        Raises:
            ResultError: no result has the metric, or two runs of one model cannot be told apart.
        """
        from tvts_bench.results.leaderboard import make_leaderboard

        return make_leaderboard(self, metrics=(metric,) if metric else (), tested=False).to_pandas()

    def compare(self, baseline: str | None = None, metrics: Sequence[str] = ()) -> "tuple[Comparison, ...]":
        """The models against each other on the same clips; see `tvts_bench.compare`."""
        from tvts_bench.results.compare import compare

        return compare(self, baseline=baseline, metrics=metrics)

    def __repr__(self) -> str:
        lines = [f"{len(self)} results of {len(self.models)} models"]
        shown = self.named[:MANY]
        width = max((len(each.model) for each in shown), default=0)
        for each in shown:
            first, data = each.result.metrics[0], each.result.run.dataset["name"]
            lines.append(f"  {each.model:{width}}  {data}, {first.name} ({first.condition}) {first.value:.2f} %")
        return "\n".join([*lines, *([f"  ... and {len(self) - MANY} more"] if len(self) > MANY else [])])


@dataclass(frozen=True, kw_only=True, eq=False)
class _Read:
    """A result before its model has a name."""

    stored: StoredResult
    name: str | None = None  # that it was given
    seed: int | None = None
    explicit: bool = False  # named as a file, not as a part of a folder


def load_result(path: Path | str) -> Result:
    """Read a result from its JSON file; what each clip scored stays in the Parquet files beside it.

    Raises:
        ResultError: it is missing, damaged, edited, or not a result.
    """
    return load(Path(path))


def load_results(sources: Source | Iterable[Source] | Results, grid: str | None = None) -> Results:
    """Read results of many runs.

    Args:
        sources: JSON files, folders (read with the folders in them), grids of `tvts-bench ablate` (their --out, or one
            that is published as a zip: one model per row, one result per seed) or `Result` objects. A path may have
            `NAME=` in front, which its model is then called.
        grid: which one, where a folder holds several.

    Returns:
        Each run once: of several results of one run in folders, the newest.

    Raises:
        ResultError: nothing is there, a file is damaged, or two files that were named are of one run.
    """
    if isinstance(sources, Results):
        return sources
    passed_over: list[str] = []
    given = [sources] if isinstance(sources, Path | str | Result) else list(sources)
    read = [each for source in given for each in _read_source(source, grid, passed_over)]
    if not read:
        names = ", ".join(str(each) for each in given if not isinstance(each, Result)) or "what was given"
        more = f" ({passed_over[0]})" if passed_over else ""
        raise ResultError(f"no results of tvts-bench in {names}{more}; give the --out of a command that measures")
    named = _named(_each_once(read, passed_over))
    return Results(named=tuple(named), passed_over=tuple(passed_over))


def _read_source(source: Source, grid: str | None, passed_over: list[str]) -> Iterator[_Read]:
    if isinstance(source, Result):
        yield _Read(stored=StoredResult(result=source, path=Path(f"{source.stem}.json")), explicit=True)
        return
    name, path = _name_and_path(str(source))
    if not path.exists():
        raise ResultError(f"{path} does not exist: give a result file, or a folder of results")
    if path.is_dir():
        roots = grid_roots(path)
        yield from _of_grid(roots, grid, name, passed_over) if roots else _of_folder(path, name, passed_over)
    elif is_archive(path):
        yield from _of_grid([path], grid, name, passed_over)
    else:
        yield _Read(stored=StoredResult(result=load(path), path=path), name=name, explicit=True)


def _name_and_path(text: str) -> tuple[str | None, Path]:
    """`NAME=PATH` apart; a path that is there may have an equals sign in it."""
    name, equals, path = text.partition("=")
    return (name.strip(), Path(path)) if equals and name.strip() and not Path(text).exists() else (None, Path(text))


def _of_folder(folder: Path, name: str | None, passed_over: list[str]) -> Iterator[_Read]:
    """The results in a folder and in the folders directly in it."""
    below = (path for path in sorted(folder.iterdir()) if path.is_dir() and path.name not in NOT_RESULTS)
    for path in (path for each in (folder, *below) for path in sorted(each.glob("*.json"))):
        if SET_ASIDE.search(path.name):
            passed_over.append(f"passed over {path}: it was set aside for newer numbers of its run")
        elif _means_to_be_one(path):
            yield _Read(stored=StoredResult(result=load(path), path=path), name=name)
        else:
            passed_over.append(f"passed over {path}: it is not a result")


def _means_to_be_one(path: Path) -> bool:
    """Whether JSON is, or once was, a result; what cannot be read is for `load` to refuse."""
    try:
        document = read_json(path)
    except (OSError, ValueError, RecursionError):
        return True
    return isinstance(document, dict) and len(PARTS & document.keys()) > 1


def _of_grid(roots: Sequence[Path], grid: str | None, name: str | None, passed_over: list[str]) -> Iterator[_Read]:
    """The results of all cells of one grid: a model per row."""
    grids = {each: root for root in reversed(roots) for each in grid_names(root)}
    chosen = grid or (next(iter(grids)) if len(grids) == 1 else None)
    if chosen not in grids:
        there = ", ".join(sorted(grids)) or "none"
        where = ", ".join(map(str, roots))
        what = f"has no grid {grid}" if grid else "holds several grids; choose one with --grid"
        raise GridError(f"{where} {what} (there: {there})")
    root = grids[chosen]
    record = read_grid(root, chosen)
    for row in record.rows if record else ():
        for seed, key in sorted(row.cells.items(), key=lambda pair: int(pair[0])):
            cell = read_cell(root, key)
            for stage in cell.stages if cell else ():
                if stage.protocol == PRETRAIN or stage.name not in row.stages or stage.status != "done":
                    continue
                for stored in stage_results(root, key, stage, passed_over):
                    model = f"{name} {row.name}" if name else row.name
                    yield _Read(stored=stored, name=model, seed=int(seed))


def _each_once(read: Sequence[_Read], passed_over: list[str]) -> list[_Read]:
    """Each run once; the newest of several, unless a user named both of them."""
    kept: dict[tuple[str, str | None, int | None], _Read] = {}
    for each in read:
        # Rows of a grid may share a cell: it is a result of both.
        key = (each.stored.result.run.key, each.name if each.seed is not None else None, each.seed)
        other = kept.get(key)
        if other is None:
            kept[key] = each
            continue
        paths = (other.stored.path, each.stored.path)
        if other.explicit and each.explicit and paths[0] != paths[1]:
            raise ResultError(f"{paths[0]} and {paths[1]} are of one run ({key[0][:12]}): name one of them")
        if created(each.stored.result) > created(other.stored.result):
            kept[key], other = each, other
            passed_over.append(f"passed over {paths[0]}: {paths[1]} is a newer result of its run")
        elif paths[0] != paths[1]:
            passed_over.append(f"passed over {paths[1]}: {paths[0]} is a result of its run that is as new")
    return list(kept.values())


def _named(read: Sequence[_Read]) -> Iterator[NamedResult]:
    """Each result under the name of its model."""
    models: dict[str, Result] = {}
    for each in read:
        models.setdefault(_identity(each), each.stored.result)
    labels = model_labels(models)
    for each in read:
        yield NamedResult(model=labels[_identity(each)], stored=each.stored, seed=each.seed)


def _identity(read: _Read) -> str:
    """What makes two results those of one model: the name they were given, or the tensors."""
    result = read.stored.result
    if name := read.name or result.provenance.get("name"):
        return f"{GIVEN}{name}"
    backbone = result.run.backbone
    return " ".join(str(backbone.get(part)) for part in ("family", "variant", "sha256", "tensors_sha256"))


def model_labels(models: Mapping[str, Result]) -> dict[str, str]:
    """Names that tell models apart, as short as that allows.

    Args:
        models: identity of each (`GIVEN` and the name, where it was given one) -> one of its results.

    Returns:
        Identity -> its name: family and variant, where these do not suffice with the weights' file, its folder, and at
        last its hash. Random weights are marked.
    """
    labels: dict[str, str] = {}
    left = list(models)
    for detail in range(4):
        texts = {identity: _label(identity, models[identity], detail) for identity in left}
        taken = [*labels.values(), *texts.values()]
        labels |= {identity: text for identity, text in texts.items() if taken.count(text) == 1 or detail == 3}
        left = [identity for identity in left if identity not in labels]
    return labels


def _label(identity: str, result: Result, detail: int) -> str:
    backbone = result.run.backbone
    marked = f" {RANDOM}" if is_random(result) else ""
    if identity.startswith(GIVEN):
        return identity.removeprefix(GIVEN) + marked
    weights = str(backbone["weights"])
    folder = Path(str(result.provenance.get("weights_path", ""))).parent.name
    parts = [f"{backbone['family']}:{backbone['variant']}"]
    if detail > 0:
        parts.append(f"{folder}/{weights}" if detail > 1 and folder else weights)
    if detail > 2:
        parts.append(f"sha256 {backbone['sha256'][:8]}")
    return ", ".join(parts) + marked


def model_fact(result: Result, seeds: int) -> str:
    """Which backbone and weights the results of a model are of, in words: one of them, of so many seeds."""
    backbone = result.run.backbone
    if seeds > 1:
        return f"backbone {backbone['family']}:{backbone['variant']}, weights of {seeds} seeds of pretraining"
    return backbone_fact(result)


def is_random(result: Result) -> bool:
    """Whether the backbone's weights are not trained, as those of a random-weights baseline."""
    return str(result.run.backbone["weights"]).startswith("random init")
