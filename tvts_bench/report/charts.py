"""Numbers as pictures: intervals in rows, and lines over steps. Each says in words what it shows.

A row is its name and its number above a track with the interval: nothing has to be matched by colour, and it reads on a
phone. Rows are links to what made them. Elements of SVG are text: names and attributes are ours, and every text that
comes from results is escaped.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from tvts_bench.printable import printable

WIDTH = 360  # units of the drawing; about as many pixels on a phone
ROW, HEAD, AXIS, SIDE = 38, 20, 26, 6  # heights of a row, of a heading and of the axis; free width on either side
LETTERS, SHORT = 38, 12  # of a row's name; of one under a heading
COMPACT, NAMES, NUMBERS = 21, 84, 36  # under a heading: height of a row; width of its short name and of its number
ZOOM = 0.5  # an axis starts at 0 unless everything on it lies above this share of the largest number
SERIES = 8  # colours in the style sheet; after that they repeat with other dashes
DASHES = ("", "7 3", "2 3", "9 3 2 3")
NICE = (1.0, 2.0, 2.5, 5.0, 10.0)  # steps of an axis, times a power of ten


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A drawing and its title."""

    title: str
    svg: str


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A row of an interval chart, in percent."""

    label: str
    value: float | None = None  # None: `missing` says why
    low: float | None = None
    high: float | None = None
    each: tuple[float, ...] = ()  # what the value is the mean of, one per seed
    runs: tuple[str, ...] = ()  # keys of what made it
    heading: str = ""  # shown where it changes
    missing: str = ""

    @property
    def in_words(self) -> str:
        """The number with its interval."""
        if self.value is None:
            return self.missing
        interval = "" if self.low is None else f", 95 % interval {self.low:.1f} to {self.high:.1f}"
        seeds = f", mean of {len(self.each)} seeds" if len(self.each) > 1 else ""
        return f"{self.value:.2f} %{interval}{seeds}"


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A curve; not drawn where a value is not finite."""

    series: int  # lines of one series look alike
    points: tuple[tuple[float, float], ...]


def interval_chart(name: str, title: str, marks: Sequence[Mark], *, chance: float | None = None) -> Chart:
    """Rows with their values and 95 % intervals over one axis, in percent.

    Args:
        name: unique on the page.
        title: what is shown.
        marks: from top to bottom.
        chance: percent, drawn as a dashed line.

    Returns:
        With a description of all numbers in words.
    """
    values = [value for mark in marks for value in _values(mark)] + ([] if chance is None else [chance])
    compact = any(mark.heading for mark in marks)
    scale = _scale(values, *((NAMES, WIDTH - NUMBERS) if compact else (SIDE, WIDTH - SIDE)))
    rows, y, heading = [], 16 if chance is not None else 4, ""
    top = y
    for mark in marks:
        if mark.heading != heading:
            heading = mark.heading
            rows.append(text(shortened(heading, LETTERS + 6), x=0, y=y + 13, class_="heading"))
            y += HEAD
        band = _Band(y=y, height=COMPACT) if compact else _Band(y=y, height=ROW, below=10)
        rows.append(_row(mark, band, scale, title))
        y += band.height
    back = [element("line", x1=scale(tick), x2=scale(tick), y1=top, y2=y, class_="grid") for tick in scale.ticks]
    back += [_tick(tick, scale, y + 15) for tick in scale.ticks]
    if chance is not None:
        x = scale(chance)
        back.append(element("line", x1=x, x2=x, y1=top, y2=y, class_="chance"))
        back.append(text(f"chance {chance:.1f}", **_beside(x), y=11, class_="small"))
    words = "; ".join(f"{mark.heading + ', ' if mark.heading else ''}{mark.label}: {mark.in_words}" for mark in marks)
    described = words if chance is None else f"{words}; chance {chance:.2f} %"
    return _drawing(name, title, described, y + AXIS, [*back, *rows])


def line_chart(name: str, title: str, lines: Sequence[Curve], names: Sequence[str], *, over: str = "step") -> Chart:
    """Curves over one axis of steps.

    Args:
        name: unique on the page.
        title: what is shown.
        lines: at least one.
        names: of the series, for the description.
        over: what the horizontal axis counts.

    Returns:
        With where each curve begins and ends in words.
    """
    xs = [x for line in lines for x, _ in line.points]
    ys = [y for line in lines for _, y in line.points]
    height, left, bottom = 190, 40, 28
    across = _Axis(low=min(xs), high=max(xs), start=left, end=WIDTH - SIDE, ticks=tuple(ticks(min(xs), max(xs), 3)))
    up_ticks = ticks(min(ys), max(ys))
    up = _Axis(low=up_ticks[0], high=up_ticks[-1], start=height - bottom, end=8, ticks=tuple(up_ticks))
    parts = [element("line", x1=left, x2=WIDTH - SIDE, y1=up(tick), y2=up(tick), class_="grid") for tick in up.ticks]
    parts += [text(f"{tick:g}", x=left - 6, y=up(tick) + 4, class_="small", text_anchor="end") for tick in up.ticks]
    shown = [tick for tick in across.ticks if across.low <= tick <= across.high]
    parts += [text(f"{tick:g}", x=across(tick), y=height - 12, class_="small", text_anchor="middle") for tick in shown]
    parts.append(text(over, x=WIDTH - SIDE, y=height - 1, class_="small", text_anchor="end"))
    for line in lines:
        path = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in line.points)
        shape = f"curve s{line.series % SERIES}"
        parts.append(element("polyline", points=path, class_=shape, stroke_dasharray=_dash(line.series)))
    return _drawing(name, title, "; ".join(_ends(lines, names)), height, parts)


def sample(series: int) -> str:
    """A piece of a series' line, for the key beside its name."""
    line = element("line", x1=1, x2=27, y1=5, y2=5, class_=f"curve s{series % SERIES}", stroke_dasharray=_dash(series))
    return element("svg", line, viewBox="0 0 28 10", class_="sample", aria_hidden="true")


def _dash(series: int) -> str:
    return DASHES[(series + series // SERIES) % len(DASHES)]


@dataclass(frozen=True, kw_only=True)
class _Axis:
    """Numbers to coordinates."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]

    def __call__(self, value: float) -> float:
        wide = self.high - self.low or 1.0
        return self.start + (value - self.low) / wide * (self.end - self.start)


@dataclass(frozen=True, kw_only=True)
class _Band:
    """Where a row is drawn."""

    y: int
    height: int
    below: int = -4  # by how much the track lies below the words; above 0 they have a line of their own


def _scale(values: Sequence[float], start: float, end: float) -> _Axis:
    low, high = (min(values), max(values)) if values else (0.0, 100.0)
    marks = ticks(low if low > ZOOM * high else 0.0, min(high, 100.0) or 1.0)
    return _Axis(low=marks[0], high=marks[-1], start=start, end=end, ticks=tuple(marks))


def _values(mark: Mark) -> Iterable[float]:
    return (value for value in (mark.value, mark.low, mark.high, *mark.each) if value is not None)


def _row(mark: Mark, band: _Band, scale: _Axis, title: str) -> str:
    y, indent = band.y, 10 if mark.heading else 0
    label = text(shortened(mark.label, SHORT if mark.heading else LETTERS), x=indent, y=y + 13, class_="label")
    if mark.value is None:
        failed = text(shortened(mark.missing, 30), x=WIDTH, y=y + 13, class_="small", text_anchor="end")
        return element("g", element("title", escaped(f"{mark.label}: {mark.missing}")), label, failed)
    middle, x = y + 14 + band.below, scale(mark.value)
    parts = [label, text(f"{mark.value:.1f}", x=WIDTH, y=y + 13, class_="value", text_anchor="end")]
    if mark.low is not None and mark.high is not None:
        low, high = scale(mark.low), scale(mark.high)
        parts.append(element("line", x1=low, x2=high, y1=middle, y2=middle, class_="interval"))
        ends = {"y1": middle - 4, "y2": middle + 4, "class_": "interval"}
        parts += [element("line", x1=end, x2=end, **ends) for end in (low, high)]
    if len(mark.each) > 1:
        parts += [element("circle", cx=scale(value), cy=middle, r=3, class_="seed") for value in mark.each]
    parts.append(element("circle", cx=x, cy=middle, r=5, class_="dot"))
    touched = element("rect", x=0, y=y, width=WIDTH, height=band.height, class_="touched", rx=4)
    what = ", ".join(part for part in (mark.heading, mark.label, title) if part)
    return linked(what, mark, [element("title", escaped(f"{what}: {mark.in_words}")), touched, *parts])


def linked(what: str, mark: Mark, parts: Sequence[str]) -> str:
    """`parts` as a link to the runs behind a number; as they are where there are none.

    Args:
        what: the number in words.
        mark: the row that it is of.
        parts: markup.

    Returns:
        Markup.
    """
    if not mark.runs:
        return element("g", *parts)
    return element(
        "a",
        *parts,
        href=f"#run-{mark.runs[0]}",
        data_runs=" ".join(mark.runs),
        data_what=what,
        data_said=mark.in_words,
        aria_label=f"{what}: {mark.in_words}. What made it",
        aria_haspopup="dialog",
    )


def _tick(tick: float, scale: _Axis, y: float) -> str:
    first, last = tick == scale.ticks[0], tick == scale.ticks[-1]
    anchor = "start" if first else "end" if last else "middle"
    x = scale(tick) + (SIDE if last else -SIDE if first else 0)
    return text(f"{tick:g}{' %' if last else ''}", x=x, y=y, class_="small", text_anchor=anchor)


def _beside(x: float) -> dict[str, object]:
    """Where to put words at a line: on the side with more room."""
    return {"x": x - 4, "text_anchor": "end"} if x > WIDTH / 2 else {"x": x + 4, "text_anchor": "start"}


def _ends(lines: Sequence[Curve], names: Sequence[str]) -> Iterable[str]:
    for line in lines:
        (first, start), (last, end) = line.points[0], line.points[-1]
        yield f"{names[line.series]}: from {start:.4g} at {first:g} to {end:.4g} at {last:g}"


def _drawing(name: str, title: str, described: str, height: float, parts: Sequence[str]) -> Chart:
    heads = (
        element("title", escaped(title), id=f"{name}-title"),
        element("desc", escaped(described), id=f"{name}-desc"),
    )
    svg = element(
        "svg",
        *heads,
        *parts,
        viewBox=f"0 0 {WIDTH} {height}",
        class_="chart",
        role="group",
        aria_labelledby=f"{name}-title",
        aria_describedby=f"{name}-desc",
    )
    return Chart(title=title, svg=svg)


def element(name: str, *children: str, **attributes: object) -> str:
    """`<name ...>children</name>`; `class_` is class, `stroke_width` is stroke-width. Children are markup already."""
    listed = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escaped(_number(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{listed}>{''.join(children)}</{name}>"


def text(words: str, **attributes: object) -> str:
    """A line of text, escaped."""
    return element("text", escaped(words), **attributes)


def escaped(words: str) -> str:
    """Words of any origin as text of a page or as an attribute."""
    return escape(printable(words), quote=True)


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers that enclose low..high.

    Args:
        low: smallest value.
        high: largest value.
        count: about how many.

    Returns:
        At least two, also where both are the same.
    """
    low, high = min(low, high), max(low, high)
    wide = max(high - low, 1e-9 * max(abs(high), 1.0))
    rough = wide / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(nice * power for nice in NICE if nice * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 10) for number in range(first, max(last, first + 1) + 1)]


def shortened(words: str, letters: int) -> str:
    """At most so many letters, the middle left out."""
    if len(words) <= letters:
        return words
    kept = letters - 1
    return f"{words[: kept - kept // 2]}…{words[len(words) - kept // 2 :]}"


def _number(value: object) -> str:
    """A coordinate with two decimals at most, so that equal results make equal bytes on every machine."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
