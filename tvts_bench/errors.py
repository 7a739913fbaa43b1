"""The base of every error a user can cause.

The command line prints such an error as one sentence and exits with 2; anything else is a bug and shows a traceback.
Subclasses live beside the code that raises them.
"""


class UserError(ValueError):
    """One clear sentence: the offending value, the file it is in, and the way out."""
