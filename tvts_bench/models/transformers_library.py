"""The transformers library, imported only where one of its networks is wanted: its import takes seconds."""

from importlib import import_module
from typing import Any

from tvts_bench import torchvision_ops  # noqa: F401 - transformers imports torchvision
from tvts_bench.errors import UserError

INPUT_FILES = ("video_preprocessor_config.json", "preprocessor_config.json", "processor_config.json")
"""Where a folder of the library describes a model's input, beside the weights; the first that is there counts."""


class LibraryError(UserError):
    """A library that a network comes from is not installed, or is too old for it."""


def from_transformers(name: str) -> Any:
    """The class `name` of the transformers library.

    Raises:
        LibraryError: it is not installed, or has no such class; with the command that helps.
    """
    try:
        library = import_module("transformers")
    except ImportError as error:
        raise LibraryError(
            f"this network needs the library transformers, which cannot be imported ({error}): pip install transformers"
        ) from error
    if not hasattr(library, name):
        raise LibraryError(f"transformers {library.__version__} has no {name}: pip install --upgrade transformers")
    return getattr(library, name)
