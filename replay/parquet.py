"""Parquet files as text of a known layout, so that one parser judges every file.

The only module that needs pyarrow, and only when it is called: the simulation path must not pay
for the import.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from replay.layouts import LAYOUTS
from replay.problems import LayoutError

_OTHER_NAMES = {"date": "open_time", "datetime": "open_time", "vol": "volume"}


def blocks(path: Path) -> Iterator[bytes]:
    """A header line, then blocks of rows; the columns are found by name and may be in any order.

    Raises:
        LayoutError: No parquet file, or the columns of no layout.
    """
    import pyarrow as pa  # noqa: PLC0415  see above
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        source = pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise LayoutError("parquet", str(error), "a parquet file", "write it again") from None
    names = [_OTHER_NAMES.get(name.lower(), name.lower()) for name in source.schema_arrow.names]
    for layout in LAYOUTS:
        if layout.header and all(name.lower() in names for name in layout.header):
            places = [names.index(name.lower()) for name in layout.header]
            break
    else:
        raise LayoutError(
            "unknown layout",
            ", ".join(names),
            "open_time, open, high, low, close, volume, or the columns of another layout",
            "rename the columns",
        )
    yield (",".join(layout.header) + "\n").encode()
    for batch in source.iter_batches():
        cells = [_texts(batch.column(place)) for place in places]
        yield "".join(",".join(row) + "\n" for row in zip(*cells, strict=True)).encode()


def _texts(column: Any) -> list[str]:
    """Cells as text: times in milliseconds, numbers in the shortest form that gives them back."""
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.compute as pc  # noqa: PLC0415

    if pa.types.is_timestamp(column.type):
        column = pc.cast(pc.cast(column, pa.timestamp("ms"), safe=False), pa.int64())
    return ["" if value is None else str(value) for value in column.to_pylist()]
