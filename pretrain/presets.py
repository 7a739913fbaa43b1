"""The presets that ship: names, one-line descriptions, text. Light to import, so that listing them is instant."""

import difflib
from importlib import resources
from pathlib import Path

from pretrain.schema import ConfigError, read_yaml
from tvts_bench.regular_file import read_regular

_FOLDER = "configs"


def preset_names() -> list[str]:
    """Names of the presets in `pretrain/configs`."""
    folder = resources.files("pretrain") / _FOLDER
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))


def preset_text(name: str) -> str:
    """The YAML of a preset, by its name or as the path of a file.

    Raises:
        ConfigError: there is none.
    """
    if name.endswith((".yaml", ".yml")):
        try:
            return read_regular(Path(name)).decode()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"preset file {name} cannot be read ({error})") from None
    known = preset_names()
    wanted = name.replace("-", "_")
    if wanted not in known:
        close = difflib.get_close_matches(wanted, known)
        hint = f" (did you mean {' or '.join(close)}?)" if close else ""
        raise ConfigError(f"unknown preset {name!r}{hint}; there are: {', '.join(known)}, or the path of a .yaml file")
    return (resources.files("pretrain") / _FOLDER / f"{wanted}.yaml").read_text(encoding="utf-8")


def description(name: str) -> str:
    """The preset's own line about itself."""
    return str(read_yaml(preset_text(name), name).get("description", ""))
