"""The base of every error a user can cause.

The command line prints such an error as one sentence and exits with 2; anything else is a bug and shows a traceback.
Subclasses live beside the code that raises them.
"""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """One clear sentence: the offending value, the file it is in, and the way out."""


def with_article(noun: str) -> str:
    """With its article, "a list" or "an int": for messages that name a type."""
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The nearest of the known names as a hint: " (did you mean folder?)"; empty where none is near."""
    close = difflib.get_close_matches(name, list(known))
    return f" (did you mean {' or '.join(close)}?)" if close else ""


def name_values(
    option: str, texts: Iterable[str] | None, form: str = "NAME=VALUE", hint: str = "", *, may_be_empty: bool = False
) -> dict[str, str]:
    """Each `NAME=VALUE` of an option that may be repeated.

    Args:
        option: As a user writes it, for messages.
        texts: What was given; None for nothing.
        form: What it takes, for messages.
        hint: What a message ends with.
        may_be_empty: Whether a value may be.

    Raises:
        UserError: A text of another form, or a name that is given twice.
    """
    values: dict[str, str] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        name = name.strip()
        if not (name and equals and (value or may_be_empty)):
            raise UserError(f"{option} takes {form}, got {text!r}{hint}")
        if name in values:
            raise UserError(f"{option} {name}= is given twice: {values[name]} and {value}")
        values[name] = value
    return values
