"""Whether a result still says what a measurement would say now: of the same lists and files, and nothing may heal."""

from tvts_bench.datasets.base import Dataset, DatasetError
from tvts_bench.metrics.measured import SplitCoverage
from tvts_bench.results import Result
from tvts_bench.snapshot import Snapshot, is_unchanged


class ReuseCheck:
    """Compares results with data sets as they are now.

    A split's files are looked at once for all results that were measured on the same ones, so an object of this class
    is for one pass over results and no longer.
    """

    def __init__(self) -> None:
        self._unchanged: dict[tuple[int, str, Snapshot], bool] = {}
        self._datasets: list[Dataset] = []  # kept alive, so that no other one gets their `id`

    def difference(self, result: Result, dataset: Dataset) -> str | None:
        """Why `result` has to be measured again on `dataset`, in words that follow its name; None where it has not.

        One `stat` a file; files are read only where their signatures differ and the result knows their contents.
        """
        if any(item.files is None for item in result.coverage):
            return "was made before results recorded their files"
        for item in result.coverage:
            if (reason := self._of_split(item, dataset)) is not None:
                return reason
        for item in result.coverage:
            if item.transient:
                return f"lacks {len(item.transient)} clips of {item.split} that failed for the moment"
        return None

    def _of_split(self, item: SplitCoverage, dataset: Dataset) -> str | None:
        try:
            if dataset.fingerprint(item.split) != item.fingerprint:
                return f"was measured on another list of {item.split}"
        except DatasetError as error:
            return f"was measured on {item.split}, which is not there now: {error}"
        assert item.files is not None
        key = (id(dataset), item.split, item.files)
        if key not in self._unchanged:
            self._datasets.append(dataset)
            self._unchanged[key] = is_unchanged(item.files, dataset.files(item.split))
        return None if self._unchanged[key] else f"was measured on other files: videos of {item.split} changed since"
