"""A confusion matrix as a picture: one row per true class, one column per answer, each row shaded by its shares."""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tvts_bench.printable import printable

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 720  # pixels that the matrix may take; more classes than that have a pixel each
LARGEST_CELL, SMALLEST_NAMED = 28, 9  # pixels of a cell; below the second, names would overlap and are left out
LONGEST_NAME = 44  # letters
FONT, MARGIN = 11, 12  # pixels
PAPER, INK, FULL = (255, 255, 255), (40, 40, 40), (8, 48, 107)  # RGB: a share of 0, of text, a share of 1


def confusion_plots(confusion: Mapping[str, Any], title: str) -> dict[str, bytes]:
    """A PNG of each condition's confusion matrix.

    Args:
        confusion: one row per pair of classes that occurs: condition, label and predicted (class indices), class and
            predicted_class (their names), clips. Classes that occur in no row of a condition are left out of its
            picture.
        title: what was measured; the condition is put behind it.

    Returns:
        Condition -> bytes of the file.
    """
    conditions = np.asarray(confusion["condition"], dtype=object)
    names = dict(zip(confusion["label"], confusion["class"], strict=True))
    names |= dict(zip(confusion["predicted"], confusion["predicted_class"], strict=True))
    pictures = {}
    for condition in dict.fromkeys(confusion["condition"]):
        rows = np.flatnonzero(conditions == condition)
        true, answered, clips = (np.asarray(confusion[name])[rows] for name in ("label", "predicted", "clips"))
        present = np.union1d(true, answered)
        counts = np.zeros((len(present), len(present)), dtype=np.int64)
        np.add.at(counts, (np.searchsorted(present, true), np.searchsorted(present, answered)), clips)
        pictures[condition] = confusion_plot(counts, [names[label] for label in present], f"{title}, {condition}")
    return pictures


def confusion_plot(counts: NDArray[np.integer], names: Sequence[str], title: str) -> bytes:
    """PNG of `counts` [C, C] (true, answered). The shade of a cell is its share of the clips of its row.

    Args:
        counts: clips of each pair of classes; a row without clips stays white.
        names: of the classes, written beside the rows where they fit. Columns are in the same order.
        title: a line above.

    Returns:
        Bytes of the file.
    """
    assert counts.shape == (len(names), len(names)), (counts.shape, len(names))
    cell = max(1, min(LARGEST_CELL, SIDE // max(len(names), 1)))
    named = cell >= SMALLEST_NAMED
    labels = [_short(name) for name in names] if named else []
    page = _page(_shaded(counts, cell), labels, printable(f"{title}: true class down, answer across"), cell)
    file = io.BytesIO()
    page.save(file, format="PNG", optimize=True)
    return file.getvalue()


def _shaded(counts: NDArray[np.integer], cell: int) -> NDArray[np.uint8]:
    """The matrix alone, [C * cell, C * cell, 3]."""
    clips = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, clips, out=np.zeros(counts.shape), where=clips > 0)[..., None]
    colours = np.asarray(PAPER) * (1 - shares) + np.asarray(FULL) * shares
    pixels: NDArray[np.uint8] = colours.round().astype(np.uint8).repeat(cell, axis=0).repeat(cell, axis=1)
    return pixels


def _page(matrix: NDArray[np.uint8], labels: Sequence[str], title: str, cell: int) -> "Image":
    """The matrix with a frame, the title above and the labels to its left."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(FONT)
    margin = int(max((font.getlength(label) for label in labels), default=0)) + 2 * MARGIN
    side, top = len(matrix), FONT + 2 * MARGIN
    width = max(margin + side + MARGIN, int(font.getlength(title)) + 2 * MARGIN)
    page = Image.new("RGB", (width, top + side + MARGIN), PAPER)
    page.paste(Image.fromarray(matrix), (margin, top))
    draw = ImageDraw.Draw(page)
    draw.rectangle((margin - 1, top - 1, margin + side, top + side), outline=INK)
    draw.text((MARGIN, MARGIN), title, fill=INK, font=font)
    for row, label in enumerate(labels):
        draw.text((margin - MARGIN // 2, top + row * cell + cell // 2), label, fill=INK, font=font, anchor="rm")
    return page


def _short(name: str) -> str:
    """A name that fits on one line."""
    text = printable(name)
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 3]}..."
