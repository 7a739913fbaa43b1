"""A page of the report, read as a browser would."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

from tvts_bench.report.folder import read_contents
from tvts_bench.report.page import build, render


@dataclass
class Read(HTMLParser):
    """What a page holds: elements with their attributes, and all its text."""

    elements: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str, **attributes: str) -> list[dict[str, str]]:
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
        return [each for name, each in self.elements if name == tag and wanted.items() <= each.items()]


def page_of(folder: Path, queries: int = 4) -> str:
    return render(build(read_contents(folder), queries=queries))


def read(page: str) -> Read:
    parsed = Read()
    parsed.feed(page)
    parsed.close()
    return parsed
