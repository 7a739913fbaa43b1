"""A group is a parameter to the command, and single options to whoever calls it."""

import inspect

import pytest

from tvts_bench.cli import option_groups, options


def command(strict: options.Strict = False, clip: option_groups.Clip = option_groups.CLIP, k: int = 5) -> None:
    """What it does."""
    raise LookupError(strict, clip, k)


def test_options_of_a_group_stand_in_its_place_with_their_defaults() -> None:
    spread = option_groups.spread(command)
    parameters = inspect.signature(spread).parameters
    assert list(parameters) == ["strict", *option_groups.Clip.__dataclass_fields__, "k"]
    assert parameters["crop"].default is None
    assert parameters["crop"].annotation == options.Crop
    assert spread.__doc__ == "What it does."


def test_the_command_gets_the_group() -> None:
    given = dict.fromkeys(option_groups.Clip.__dataclass_fields__) | {"crop": 112, "strict": True, "k": 1}
    with pytest.raises(LookupError) as called:
        option_groups.spread(command)(**given)
    assert called.value.args == (True, option_groups.Clip(crop=112), 1)
