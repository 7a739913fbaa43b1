"""What a model is called where results of many stand together: as short as tells it from the others."""

from collections.abc import Mapping
from pathlib import Path

from tvts_bench.results.files import backbone_fact
from tvts_bench.results.result import Result

RANDOM = "RANDOM"  # behind the name of a model whose weights are not trained
GIVEN = "name "  # before an identity that is a given name


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
