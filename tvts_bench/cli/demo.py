"""`tvts-bench demo`: what the shipped backbone has learned, beside its twin and its control."""

from pathlib import Path
from typing import TYPE_CHECKING

from tvts_bench.cli import option_groups, options
from tvts_bench.cli.console import stderr, stdout

if TYPE_CHECKING:
    from tvts_bench.results import Result

DATASET = "scripted_motion:ssv2"
BACKBONES = {
    "TVTS (shipped)": "tvts:scripted_motion_tiny",
    "L_base only (twin)": "tvts:scripted_motion_tiny_l_base",
    "random init (control)": "tvts:tiny",
}
"""What the rows are called, and which backbones they are; differences are those of the first to each other."""


def demo(
    machine: option_groups.Machine = option_groups.MACHINE,
    out: options.Out = Path("results"),
    debug: options.Debug = False,
) -> None:
    """Measure the shipped backbone on the embedded world, beside its twin without sorting and random weights.

    Zero-shot retrieval with the defaults of `tvts-bench retrieval`, on videos in which motion alone is the class. They
    are made on first use, and decoded once for the three backbones. Less than a minute on two cores.
    """
    from tvts_bench.backbones.loading import load_backbone
    from tvts_bench.cli import setup
    from tvts_bench.devices import resolve_dtype
    from tvts_bench.distributed import distributed_runtime
    from tvts_bench.evaluation import evaluate_all
    from tvts_bench.evaluators.zero_shot_retrieval import ZeroShotRetrieval
    from tvts_bench.results import require_writable

    require_writable(out)
    local = setup.make_runtime(machine)
    backbones = [load_backbone(name) for name in BACKBONES.values()]
    data = setup.make_dataset(DATASET, None, None, 1, machine.cache)
    protocol = ZeroShotRetrieval(dtype=resolve_dtype(machine.dtype, local.device))
    with distributed_runtime(local) as runtime:
        results = evaluate_all(backbones, data, protocol, runtime)
    if runtime.rank == 0:
        _report(dict(zip(BACKBONES, results, strict=True)), out)


def _report(results: "dict[str, Result]", out: Path) -> None:
    from tvts_bench.cli.tables import comparison_table, failures
    from tvts_bench.results.files import write_files

    written = [write_files(result, out).saved.json for result in results.values()]
    first = next(iter(results.values()))
    stdout.print(f"Zero-shot retrieval on {first.run.dataset['name']}", style="italic")
    stdout.print(comparison_table(results))
    for line in _facts(results):
        stdout.print(line, style="dim", soft_wrap=True)
    for line in dict.fromkeys(line for result in results.values() for line in failures(result)):
        stderr.print(line, soft_wrap=True)
    for path in written:
        stderr.print(f"written: {path} (and .csv, .md, .neighbors.parquet)", soft_wrap=True)


def _facts(results: "dict[str, Result]") -> list[str]:
    """What made the numbers: what the backbones differ in, then what they have in common, each line once."""
    from tvts_bench.results.summary import backbone_fact, shared_facts

    computed_by = (name for result in results.values() for name in result.provenance["features_computed_by"])
    return [
        "percent; below each its 95 % bootstrap interval over clips, paired for differences",
        *(f"{label}: {backbone_fact(result)}; run {result.run.key[:12]}" for label, result in results.items()),
        *dict.fromkeys(line for result in results.values() for line in shared_facts(result)),
        "computed by " + "; ".join(dict.fromkeys(computed_by)),
    ]
