"""A data set of plain colours, for protocols that only need labels to be right."""

from tvts_bench.datasets.base import DatasetInfo


def colours_info(*splits: str, num_classes: int) -> DatasetInfo:
    """What such a data set says of itself; papers would evaluate `test`."""
    return DatasetInfo(
        title="colours",
        splits=splits,
        default_split="test",
        num_classes=num_classes,
        official_sizes={},
        url="-",
        license="-",
        layout="-",
    )
