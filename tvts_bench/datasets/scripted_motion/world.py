"""The configuration of a world, and what its folder says of it.

Equal configuration and generator version: equal frames, on any machine.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Annotated

from tvts_bench import provenance
from tvts_bench.atomic import whole_file
from tvts_bench.config_fields import Option
from tvts_bench.datasets.base import DatasetError
from tvts_bench.regular_file import read_regular
from tvts_bench.typed_json import typed

GENERATOR_VERSION = 3
"""Raised by every change that changes a frame, a file's name, a label or a word."""
MANIFEST = "scripted_motion.json"


@dataclass(frozen=True, kw_only=True)
class StoryConfig:
    """What narrated videos tell, and how their narrator talks; shares are percentages.

    The frames depend on `undone_share` alone. What is said of an undone story, averaged, tells which circles move and
    never which way: that is in the order alone. In the others, the free ones, the average of the words tells nearly all
    that the order does. With chatter, alignment of a tiny network stays at chance for hundreds of steps; at 40 percent
    of topics, appearance does for alignment and for sorting.
    """

    undone_share: Annotated[
        int,
        Option(
            "Percent of stories in which all that is done is undone again: an action, its opposite, another and its"
            " opposite, in random order."
        ),
    ] = 100
    chatter_share: Annotated[
        int, Option("Percent of sentences with openers, closers, fillers, and words that speech recognition mishears.")
    ] = 0
    topic_share: Annotated[int, Option("Percent of sentences that name the digit, its colour or the ground.")] = 20

    def __post_init__(self) -> None:
        """Refuse what is no percentage."""
        for name in ("undone_share", "chatter_share", "topic_share"):
            value = getattr(self, name)
            if not 0 <= value <= 100:
                raise DatasetError(f"{name} is a percentage from 0 to 100, got {value}")


@dataclass(frozen=True, kw_only=True)
class World(StoryConfig):
    """How much is made, and how fast things happen."""

    seed: int = 0
    fps: int = 12

    ssv2_train: int = 4000  # clips
    ssv2_val: int = 2400
    k400_train: int = 2400
    k400_val: int = 1200
    ucf_groups: int = 25  # sources a class; as many as UCF-101 has
    ucf_clips: int = 4  # near-duplicates a source
    hmdb_clips: int = 104  # clips a class: 70 train, 30 test, 4 in neither, in each of the three splits

    clip_slowest: int = 350  # thousandths of a circle a second (see render)
    clip_fastest: int = 550
    clip_shortest: int = 2200  # milliseconds
    clip_longest: int = 2800

    narrated_train: int = 400  # videos
    narrated_val: int = 40
    narrated_shards: int = 4  # subset_N folders
    # Four actions, and so one a segment of the paper's sampling (four segments of 3 s, 1 s apart), wherever the 15 s
    # begin that are cut out.
    narrated_shortest: int = 16  # seconds
    narrated_longest: int = 16
    # 16 frames over four narrated segments lie about seven times as far apart as 16 frames of a clip: slower, so that
    # neighbouring frames of either differ by about the same motion.
    narrated_slowest: int = 50
    narrated_fastest: int = 80
    action_shortest: int = 4000  # milliseconds
    action_longest: int = 4000
    # Seconds with one sprite on one ground: all of a story, so that what is seen says nothing of when.
    scene_shortest: int = 16
    scene_longest: int = 16

    def __post_init__(self) -> None:
        """Refuse a world that cannot be made."""
        super().__post_init__()
        for name, value in asdict(self).items():
            if value < (0 if name == "seed" or name.endswith("_share") else 1):
                raise DatasetError(f"{name} must be {'0 or more' if name == 'seed' else 'positive'}, got {value}")
        for kind in ("clip", "narrated", "action", "scene"):
            for low, high in (("slowest", "fastest"), ("shortest", "longest")):
                least, most = getattr(self, f"{kind}_{low}", 0), getattr(self, f"{kind}_{high}", 0)
                if least > most:
                    raise DatasetError(f"{kind}_{low} must not exceed {kind}_{high}, got {least} > {most}")
        if self.ucf_groups < 4:
            raise DatasetError(f"ucf_groups must be at least 4 (one for each test split, one always in train), got "
                               f"{self.ucf_groups}")  # fmt: skip
        if self.hmdb_clips < 4:
            raise DatasetError(f"hmdb_clips must be at least 4, got {self.hmdb_clips}")

    @property
    def stories(self) -> StoryConfig:
        """What the world's narrated videos tell."""
        return StoryConfig(**{field.name: getattr(self, field.name) for field in fields(StoryConfig)})

    def telling(self, stories: StoryConfig) -> "World":
        """This world with other stories."""
        return replace(self, **asdict(stories))

    @property
    def digest(self) -> str:
        """sha256 (hex) of the configuration and the generator's version."""
        return provenance.digest({"world": self, "generator": GENERATOR_VERSION})


DEFAULT = World()


@dataclass(frozen=True, kw_only=True)
class PartMade:
    """What the manifest says of a complete part."""

    items: int  # clips, or narrated videos
    frames: int
    frames_sha256: str  # over the digests of all items in order, before encoding
    classes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The provenance file of a world."""

    world: World
    parts: dict[str, PartMade]

    def missing(self, parts: Sequence[str]) -> list[str]:
        """Which of `parts` are not complete."""
        return [part for part in parts if part not in self.parts]

    def write(self, out: Path) -> None:
        """Write it to the world's folder, whole."""
        content = {
            "generator": GENERATOR_VERSION,
            "digest": self.world.digest,
            **asdict(self),
            "versions": provenance.versions(),
        }
        with whole_file(out / MANIFEST) as file:
            file.write((json.dumps(content, indent=1) + "\n").encode())


def read_manifest(out: Path) -> Manifest | None:
    """The manifest under `out`, or None if there is none.

    Raises:
        DatasetError: it cannot be read, or another version of the generator wrote it.
    """
    path = out / MANIFEST
    try:
        content = json.loads(read_regular(path))
        if content["generator"] == GENERATOR_VERSION:
            return typed(Manifest, {"world": content["world"], "parts": content["parts"]})
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
        raise DatasetError(f"{path} is no manifest of a ScriptedMotion world ({error}); delete the folder") from error
    raise DatasetError(
        f"{path} was written by generator version {content['generator']}, this is version {GENERATOR_VERSION}; make "
        "the world anew in another folder"
    )
