"""Find what is wrong with a data set on disk before it costs a run: every file is read once, in parallel."""

from tvts_bench.check.problems import CheckReport, Problem, check_dataset, write_csv

__all__ = ["CheckReport", "Problem", "check_dataset", "write_csv"]
