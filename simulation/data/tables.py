"""A user's own data: a file of interactions and a file of items, CSV or Parquet.

    interactions   user, item [, time] [, value] [, private_text]
    items          item, text [, title]

The file's ending decides how it is read: `.parquet` or `.pq` is Parquet, anything else is CSV with
a header. Other columns are ignored. Both kinds become columns of text, so that an id 7, a time or
a missing value means the same in both.
"""

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as compute
import pyarrow.parquet as parquet

from models.errors import DataError
from simulation.data.checking import RawTables, build_interactions, require_columns
from simulation.data.delimited import (
    CSV,
    MAX_INPUT_BYTES,
    TextTable,
    checked_file,
    read_text_table,
)
from simulation.data.interactions import Columns, Interactions
from simulation.data.raw_events import RAW_TIME

_PARQUET = {".parquet", ".pq"}
_EVENTS = (Columns.USER, Columns.ITEM)
_EVENTS_MAY_HAVE = (RAW_TIME, Columns.VALUE, Columns.PRIVATE_TEXT)
_ITEMS = (Columns.ITEM, Columns.TEXT)
_ITEMS_MAY_HAVE = (Columns.TITLE,)


def load_tables(interactions: Path, items: Path) -> Interactions:
    """Load a plain pair of tables.

    Args:
        interactions: columns user, item and any of time, value, private_text.
        items: columns item, text and perhaps title.

    Raises:
        DataError: if a file is missing or unreadable, lacks a column, or holds nothing usable.
    """
    events, event_table = _read(interactions, _EVENTS, _EVENTS_MAY_HAVE)
    catalogue, item_table = _read(items, _ITEMS, _ITEMS_MAY_HAVE)
    if Columns.TITLE not in catalogue.columns:
        catalogue = catalogue.assign(**{Columns.TITLE: ""})
    return build_interactions(
        RawTables(
            name=interactions.name,
            events=events,
            items=catalogue,
            broken_event_rows=event_table.broken_rows,
            broken_item_rows=item_table.broken_rows,
            replaced_characters=event_table.replaced_characters + item_table.replaced_characters,
        )
    )


def _read(
    path: Path, needed: tuple[str, ...], optional: tuple[str, ...]
) -> tuple[pd.DataFrame, TextTable]:
    """Return the columns we use, and the table they came from."""
    if path.suffix.lower() in _PARQUET:
        table = _read_parquet(path, needed, optional)
    else:
        table = read_text_table(path, path.name, CSV)
        require_columns(table.cells.columns, needed, path.name)
    used = [column for column in needed + optional if column in table.cells.columns]
    return table.cells[used], table


def _read_parquet(path: Path, needed: tuple[str, ...], optional: tuple[str, ...]) -> TextTable:
    """Read the columns that we use of a Parquet file, as text; a missing cell becomes ""."""
    try:
        with parquet.ParquetFile(checked_file(path)) as file:
            _check_unpacked_size(file, path)
            found = file.schema_arrow.names
            require_columns(found, needed, path.name)
            table = file.read(columns=[name for name in needed + optional if name in found])
        texts = {name: _as_text(table.column(name)) for name in table.column_names}
    except (pa.ArrowException, OSError, ValueError) as error:
        line = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise DataError(f"{path.name} is no Parquet file that we can read: {line}") from error
    cells = pd.DataFrame({name: text for name, (text, _) in texts.items()})
    return TextTable(cells, 0, sum(replaced for _, replaced in texts.values()))


def _check_unpacked_size(file: Any, path: Path) -> None:
    """Refuse a small file that unpacks to more than we read."""
    groups = (file.metadata.row_group(number) for number in range(file.num_row_groups))
    num_bytes = sum(group.total_byte_size for group in groups)
    if num_bytes > MAX_INPUT_BYTES:
        raise DataError(
            f"{path} unpacks to {num_bytes:,} bytes, the limit is {MAX_INPUT_BYTES:,}: "
            "give a part of it"
        )


def _as_text(column: Any) -> tuple[pd.Series, int]:
    """Return an Arrow column of any simple type as text, and how many characters were replaced."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
    elif pa.types.is_floating(kind):
        column = compute.if_else(compute.is_nan(column), None, column)
    # A string column is not checked for valid UTF-8 on reading; a cast from binary is.
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = column.cast(pa.large_binary())
    try:
        text = column.cast(pa.large_string())
    except pa.ArrowInvalid:
        raw = [cell or b"" for cell in column.to_pylist()]
        decoded = [cell.decode("utf-8", errors="replace") for cell in raw]
        true_ones = sum(cell.count(b"\xef\xbf\xbd") for cell in raw)
        replaced = sum(cell.count("\ufffd") for cell in decoded) - true_ones
        return pd.Series(decoded, dtype="str"), replaced
    return text.fill_null("").to_pandas(), 0
