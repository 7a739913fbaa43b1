"""A leaderboard as tables and files: terminal, Markdown, LaTeX, tidy CSV and an HTML page.

Equal results make equal bytes; no path of a machine is in them.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from tvts_bench.printable import csv_text, printable
from tvts_bench.results import write_atomically
from tvts_bench.results.collection import RANDOM
from tvts_bench.results.leaderboard import Cost, Leaderboard, Measure, RankedCell
from tvts_bench.tables.layout import Heading, Line, TableLayout, Text
from tvts_bench.tables.render import as_latex, as_markdown

STEM = "leaderboard"
COLUMNS = (
    *("model", "random_weights", "mean_rank", "dataset", "protocol", "metric", "condition", "setting"),
    *("value", "low", "high", "chance", "rank", "letters", "best", "used", "listed", "complete", "seeds"),
    *("parameters", "gmacs_per_clip", "clips_per_second", "device", "runs"),
)
"""One row per model and column; percent; `letters`: models that share one are not shown to differ."""
COSTS = ("parameters, M", "GMACs", "clips/s", "device")
CHANCE = "chance"

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ layout.title }}</title>
<style>
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif; }
body { margin: 2rem auto; max-width: 80rem; padding: 0 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; }
th, td { padding: .35rem .7rem; text-align: left; vertical-align: top; border-bottom: 1px solid #8884; }
th:first-child, td:first-child { position: sticky; left: 0; background: Canvas; }
td:first-child { max-width: 14rem; min-width: 7rem; overflow-wrap: anywhere; }
th small, td small { display: block; font-weight: normal; opacity: .75; }
th small { width: 9rem; margin-left: auto; }
td small { white-space: nowrap; }
sup { line-height: 0; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
li { margin: .2rem 0; }
</style></head><body>
<h1>{{ layout.title }}</h1>
<div class="wide"><table>
<thead><tr>
{%- for heading in layout.headings %}
<th{% if heading.is_number %} class="number"{% endif %}>{{ heading.text }}
{%- if heading.data %}<small>{{ heading.data }}</small>{% endif %}</th>
{%- endfor %}
</tr></thead>
<tbody>
{%- for line in layout.lines %}
<tr>
{%- for text in line.texts %}
<td{% if layout.headings[loop.index0].is_number %} class="number"{% endif %}>
{%- if text.bold %}<b>{{ text.text }}</b>{% else %}{{ text.text }}{% endif %}
{%- if text.mark %}<sup>{{ text.mark }}</sup>{% endif %}
{%- if text.extra %}<small>{{ text.extra }}</small>{% endif %}</td>
{%- endfor %}
</tr>
{%- endfor %}
</tbody></table></div>
<ul>
{%- for note in layout.notes %}
<li>{{ note }}</li>
{%- endfor %}
</ul>
</body></html>
"""


def lay_out_leaderboard(
    board: Leaderboard, columns: Sequence[int] | None = None, *, overview: bool = True
) -> TableLayout:
    """The leaderboard as text.

    Args:
        board: with its cells.
        columns: numbers of those to show; None: all.
        overview: with the mean rank, and with each cost that is known of any model.

    Returns:
        One line per model, the best first, then chance where it is known.
    """
    shown = range(len(board.measures)) if columns is None else columns
    measures = [board.measures[number] for number in shown]
    known = {model: _cost(board.costs[model]) for model in board.models if overview}
    costs = [name for name in COSTS if any(cost[name] for cost in known.values())]
    ranked = ("mean rank",) * overview
    lines = [
        Line(
            group="",
            begins=False,
            texts=(
                Text(text=model),
                *(Text(text=_number(board.mean_ranks.get(model), "{:.1f}")) for _ in ranked),
                *(_cell(board.cells.get((model, number))) for number in shown),
                *(Text(text=known[model][name]) for name in costs),
            ),
        )
        for model in board.models
    ]
    if any(measure.chance is not None for measure in measures):
        chances = [Text(text=_number(measure.chance, "{:.1f}")) for measure in measures]
        texts = (Text(text=CHANCE), *(Text() for _ in ranked), *chances, *(Text() for _ in costs))
        lines.append(Line(group="", begins=False, texts=texts))
    return TableLayout(
        title=_title(board),
        headings=(
            Heading(text="model"),
            *(Heading(text=text, kind="number") for text in ranked),
            *(Heading(text=measure.heading, kind="number", data=str(measure.task)) for measure in measures),
            *(Heading(text=text, kind="name" if text == "device" else "number") for text in costs),
        ),
        lines=tuple(lines),
        notes=board.notes,
    )


def write_leaderboard(board: Leaderboard, out: Path) -> tuple[Path, ...]:
    """Write OUT/leaderboard.md, .csv, .tex and .html, each whole or not at all.

    Raises:
        ResultError: the folder cannot be made or written to.
    """
    paths = tuple(out / f"{STEM}.{form}" for form in ("md", "csv", "tex", "html"))
    for path in paths:
        write_atomically(path, as_text(board, path.suffix[1:]))
    return paths


def as_text(board: Leaderboard, form: str) -> str:
    """The leaderboard as a file: "csv", "md", "tex" or "html"."""
    if form == "csv":
        return csv_text([COLUMNS, *_csv_rows(board)])
    renderers = {"md": as_markdown, "tex": as_latex, "html": as_html}
    return renderers[form](lay_out_leaderboard(board))


def as_html(layout: TableLayout) -> str:
    """A page of one table and its notes, which loads nothing."""
    from jinja2 import Environment

    page = Environment(autoescape=True, finalize=lambda each: printable(each) if isinstance(each, str) else each)
    return page.from_string(PAGE).render(layout=layout)


def _title(board: Leaderboard) -> str:
    tasks = len({measure.task for measure in board.measures})
    models = len(board.models)
    return f"{models} model{'s' * (models != 1)}, {tasks} task{'s' * (tasks != 1)}"


def _cell(cell: RankedCell | None) -> Text:
    if cell is None:
        return Text()
    interval = "" if cell.low is None else f"[{cell.low:.1f}, {cell.high:.1f}]"
    part = "" if cell.complete else f" {min(100 * cell.used / cell.listed, 99.9):.3g} % of the clips"
    return Text(text=f"{cell.value:.1f}", bold=cell.best, mark=cell.letters, extra=f"{interval}{part}".strip())


def _cost(cost: Cost) -> dict[str, str]:
    """What a model takes, by heading."""
    millions = None if cost.parameters is None else cost.parameters / 1e6
    numbers = (_number(millions, "{:.4g}"), _number(cost.gmacs, "{:.4g}"), _number(cost.clips_per_second, "{:.3g}"))
    return dict(zip(COSTS, (*numbers, cost.device or ""), strict=True))


def _number(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def _csv_rows(board: Leaderboard) -> Iterator[list[object]]:
    for model in board.models:
        for number, measure in enumerate(board.measures):
            if (cell := board.cells.get((model, number))) is not None:
                yield _csv_row(board, model, measure, cell)


def _csv_row(board: Leaderboard, model: str, measure: Measure, cell: RankedCell) -> list[object]:
    cost, task = board.costs[model], measure.task
    return [
        *(model, int(model.endswith(RANDOM)), board.mean_ranks.get(model), task.dataset, task.protocol),
        *(measure.metric, measure.condition, measure.setting, cell.value, cell.low, cell.high, measure.chance),
        *(cell.rank, cell.letters, int(cell.best), cell.used, cell.listed, int(cell.complete), cell.seeds),
        *(cost.parameters, cost.gmacs, cost.clips_per_second, cost.device, " ".join(cell.keys)),
    ]
