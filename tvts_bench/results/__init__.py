"""Results: what a run measured, its files, and the index over many of them.

result.py           a run, what it measured, and the JSON document of both
files.py            the files of one result: JSON, CSV, Markdown, Parquet, pictures; written whole, never lost
index.py            the results of a folder by key, which are comparable, and which still hold
grids.py            ablation grids and their cells: records, results, and grids published as one file
collection.py       results as a user names them: files, folders, grids, each under the name of its model
comparability.py    tasks, which results say something about each other, and what clips scored in them
compare.py          verdicts: whether models differ
leaderboard.py      models x tasks
export.py           one tidy table, model cards, runs of W&B and MLflow
per_sample.py       what each query or clip scored
official_splits.py  the mean over the official splits of a data set
confusion_plot.py   confusion matrices as pictures
"""

from tvts_bench.results.files import load, read_json, require_writable, save, write_atomically, write_files
from tvts_bench.results.result import Result, ResultError, Run, as_json, from_json

__all__ = [
    "Result",
    "ResultError",
    "Run",
    "as_json",
    "from_json",
    "load",
    "read_json",
    "require_writable",
    "save",
    "write_atomically",
    "write_files",
]
