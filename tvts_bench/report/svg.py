"""Elements of SVG as text. Names and attributes are ours; every text that comes from results is escaped here."""

import math
from html import escape

from tvts_bench.printable import printable

NICE = (1.0, 2.0, 2.5, 5.0, 10.0)  # steps of an axis, times a power of ten


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
    """About `count` round numbers that enclose low..high; at least two, also where both are the same."""
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
