"""The base of every error a user can cause.

The command line prints such an error as one sentence and exits with 2; anything else is a bug and shows a traceback.
Subclasses live beside the code that raises them.
"""


class UserError(ValueError):
    """One clear sentence: the offending value, the file it is in, and the way out."""


def with_article(noun: str) -> str:
    """ "a list", "an int": for messages that name a type."""
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"
