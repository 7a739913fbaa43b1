"""A group is a parameter to the command, and single options to whoever calls it; options are made of fields."""

import inspect
from dataclasses import dataclass
from typing import Annotated, Any, get_args

import pytest
from typer.testing import CliRunner

from tvts_bench.cli import options
from tvts_bench.cli.main import app
from tvts_bench.config_fields import Option, Range, check_fields, field_options
from tvts_bench.errors import UserError, name_values
from tvts_bench.video.spec import SAMPLINGS

CLIP = ["sampling", "views", "frames", "stride", "short_side", "crop", "resize", "interpolation", "mean", "std"]


def command(
    clip: options.ClipOptions,
    strict: Annotated[bool, Option("Stop with an error.")] = False,
    k: Annotated[int, Option("Recall at this rank.", least=1)] = 5,
) -> None:
    """What it does."""
    raise LookupError(strict, clip, k)


def test_options_of_a_group_stand_in_its_place_with_their_defaults() -> None:
    spread = options.spread(command)
    parameters = inspect.signature(spread).parameters
    assert list(parameters) == [*CLIP, "strict", "k", "debug"]
    assert parameters["crop"].default is None
    kind, option = get_args(parameters["crop"].annotation)
    assert kind == int | None
    assert option.help == "Pixels of the square cut out of it."
    assert spread.__doc__ == "What it does."


def test_the_command_gets_the_group() -> None:
    given = dict.fromkeys(CLIP) | {"crop": 112, "mean": "0.5", "strict": True, "k": 1, "debug": False}
    with pytest.raises(LookupError) as called:
        options.spread(command)(**given)
    assert called.value.args == (True, options.ClipOptions(fields={"crop": 112, "mean": (0.5, 0.5, 0.5)}), 1)


def test_a_value_out_of_a_fields_range_is_refused_before_the_command_runs() -> None:
    given: dict[str, Any] = dict.fromkeys(CLIP) | {"crop": 0, "strict": True, "k": 1, "debug": False}
    with pytest.raises(UserError, match="crop must be positive, got 0"):
        options.spread(command)(**given)
    with pytest.raises(UserError, match="--k must be at least 1, got 0"):
        options.spread(command)(**{**given, "crop": 8, "k": 0})


@pytest.mark.parametrize("name", ["retrieval", "probe", "finetune", "embed", "search"])
def test_one_vocabulary_of_sampling_is_in_the_help_of_every_command(name: str) -> None:
    help = " ".join(CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "300"}).stdout.replace("│", " ").split())
    for sampling, named in SAMPLINGS.items():
        assert f"{sampling}: {named.help}" in help


@dataclass(frozen=True, kw_only=True)
class Config:
    share: Annotated[float, Option("A share.", above=0, most=1)] = 0.5
    count: Annotated[int | None, Option("How many.", least=1, most=1_000_000)] = None
    pair: Annotated[tuple[float, float], Option("Two.", least=0, below=1)] = (0.0, 0.5)

    def __post_init__(self) -> None:
        check_fields(self)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"share": 0}, "share must be in (0, 1], got 0"),
        ({"share": float("nan")}, "share must be in (0, 1], got nan"),
        ({"count": 0}, "count must be at least 1 or left out, got 0"),
        ({"count": 10**9}, "count must be at most 1,000,000, got 1,000,000,000"),
        ({"pair": (0.0, 1.0)}, "pair must be in [0, 1), got (0.0, 1.0)"),
        ({"share": float("inf")}, "share must be finite, got inf"),
    ],
)
def test_a_configuration_refuses_what_its_annotations_exclude(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        Config(**fields)
    assert str(caught.value) == sentence


def test_limits_are_said_in_help_where_they_are_no_matter_of_course() -> None:
    assert {name: each.option.range.in_words_of_help for name, each in field_options(Config).items()} == {
        "share": "In (0, 1].",
        "count": "At least 1.",
        "pair": "In [0, 1).",
    }
    assert str(Range()) == ""
    assert str(Range(above=2)) == "above 2"
    assert str(Range(below=2)) == "below 2"


def test_pairs_of_name_and_value() -> None:
    assert name_values("--set", None) == {}
    assert name_values("--set", ["a=1", "b="], may_be_empty=True) == {"a": "1", "b": ""}
    for texts, sentence in {
        ("a",): "--set takes NAME=VALUE, got 'a'",
        ("a=",): "--set takes NAME=VALUE, got 'a='",
        ("a=1", "a=2"): "--set a= is given twice: 1 and 2",
    }.items():
        with pytest.raises(UserError, match=sentence):
            name_values("--set", texts)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["finetune", "--total-batch", "0"], "--total-batch must be positive, got 0"),
        (["finetune", "--lr", "nan"], "--lr must be positive, got nan"),
        (["retrieval", "--frames", "0"], "--frames must be positive, got 0"),
    ],
)
def test_a_refusal_names_the_option_and_not_the_field_behind_it(arguments: list[str], sentence: str) -> None:
    refused = CliRunner().invoke(app, arguments)
    assert refused.exit_code == 2
    assert sentence in refused.stderr
