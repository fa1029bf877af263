r"""Text tables (CSV, TSV and their kin) read as columns of text, whatever state they are in.

    user,item,time           a row of two cells      -> left out, counted
    ann,42,2020-01-01        a byte that is no UTF-8 -> U+FFFD, counted
    bob,42                   a quote never closed    -> the rows it swallowed left out, counted
    b\xffb,42,2020-01-02

Nothing is guessed: a cell stays the text it was ("007" is not 7), and what the text means is
decided in `checking`. Parsing is Arrow's, so millions of rows take seconds; the bytes flow through
a small decoder on the way, so a large file is never held twice. `read_text_blocks` gives stretches
of rows, so that it need not be held even once.
"""

import codecs
import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd
import pyarrow as pa
import pyarrow.csv as arrow_csv

from models.errors import DataError

MAX_INPUT_BYTES = 8 << 30
_CHUNK_BYTES = 1 << 20
_BLOCK_BYTES = 64 << 20  # no row may be longer


@dataclass(frozen=True, slots=True)
class Format:
    """How a text table is written.

    Attributes:
        delimiter: the character between two cells.
        header: the column names if the file has none, else () and its first line is read.
        quoted: whether "..." protects delimiters and line breaks.
        encoding: how its bytes become text.
        escape: the character that takes the meaning from a quote, "" if there is none.
    """

    delimiter: str
    header: tuple[str, ...] = ()
    quoted: bool = False
    encoding: str = "utf-8-sig"
    escape: str = ""


Source = Path | bytes | BinaryIO
"""A file, its content, or its bytes as they come."""

CSV = Format(delimiter=",", quoted=True)


@dataclass(frozen=True, slots=True)
class TextTable:
    """A table of text cells.

    Attributes:
        cells: every column is str; a cell may be "".
        broken_rows: rows that did not have the right number of cells, left out.
        replaced_characters: byte runs that were no text, replaced by U+FFFD.
    """

    cells: pd.DataFrame
    broken_rows: int
    replaced_characters: int


def checked_file(path: Path) -> Path:
    """Return the path if it is a file of a size that we read.

    Raises:
        DataError: if it is missing, no file, or larger than `MAX_INPUT_BYTES`.
    """
    try:
        if not path.exists():
            raise DataError(f"there is no file {path}: check the path")
        if not path.is_file():
            raise DataError(f"{path} is not a file: give the path of one file")
        num_bytes = path.stat().st_size
    except (OSError, ValueError) as error:
        raise DataError(f"cannot look at {str(path)[:200]!r}: {error}: check the path") from error
    if num_bytes > MAX_INPUT_BYTES:
        raise DataError(
            f"{path} has {num_bytes:,} bytes, the limit is {MAX_INPUT_BYTES:,}: give a part of it"
        )
    return path


def read_text_table(source: Source, name: str, form: Format) -> TextTable:
    """Read a text table.

    Args:
        source: a file, its content, or its bytes as a stream, which is closed.
        name: what it is called in messages.
        form: how it is written.

    Raises:
        DataError: if it cannot be opened, is empty, or is no text table at all.
    """
    blocks = list(read_text_blocks(source, name, form))
    return TextTable(
        pd.concat([block.cells for block in blocks], ignore_index=True),
        sum(block.broken_rows for block in blocks),
        sum(block.replaced_characters for block in blocks),
    )


def read_text_blocks(source: Source, name: str, form: Format) -> Iterator[TextTable]:
    """Read a text table in stretches of rows, for files that are larger than memory would like.

    Args:
        source: a file, its content, or its bytes as a stream, which is closed.
        name: what it is called in messages.
        form: how it is written.

    Yields:
        at least one table; rows, and counts of what was broken, add up to the whole.

    Raises:
        DataError: if it cannot be opened, is empty, or is no text table at all.
    """
    try:
        with _opened(source) as stream, _TextBytes(stream, form) as decoded:
            yield from _blocks(decoded, name, form)
    except pa.ArrowInvalid as error:
        raise DataError(f"{name} is no table of text: {_first_line(error)}") from error
    except OSError as error:
        raise DataError(f"cannot read {name}: {error.strerror or error}") from error


def _opened(source: Source) -> BinaryIO:
    if isinstance(source, bytes):
        return io.BytesIO(source)
    return checked_file(source).open("rb") if isinstance(source, Path) else source


def _blocks(decoded: "_TextBytes", name: str, form: Format) -> Iterator[TextTable]:
    reader = io.BufferedReader(decoded, _CHUNK_BYTES)
    header = form.header or _read_header(reader, name, form)
    empty = pd.DataFrame({column: pd.Series(dtype="str") for column in header})
    broken: list[int] = []

    def leave_out(row: Any) -> str:
        broken.append(_lines_of(row.text or ""))
        return "skip"

    last = empty
    for cells in _parsed(reader, header, form, leave_out) if reader.peek(1) else ():
        if len(last):
            yield TextTable(last, 0, 0)
        last = cells
    if form.quoted and decoded.quotes % 2:
        swallowed = _rows_in_open_quote(last)
        last = last.iloc[: len(last) - (1 if swallowed else 0)]
        broken.append(swallowed)
    yield TextTable(last, sum(broken), decoded.replaced_characters)


def _parsed(
    reader: "io.BufferedReader[Any]",
    header: tuple[str, ...],
    form: Format,
    leave_out: Callable[[Any], str],
) -> Iterator[pd.DataFrame]:
    """Let Arrow parse; a row that is no row of this table goes to `leave_out`."""
    batches = arrow_csv.open_csv(
        reader,
        read_options=arrow_csv.ReadOptions(
            column_names=list(header), use_threads=False, block_size=_BLOCK_BYTES
        ),
        parse_options=arrow_csv.ParseOptions(
            delimiter=form.delimiter,
            quote_char='"' if form.quoted else False,
            escape_char=form.escape or False,
            newlines_in_values=form.quoted,
            invalid_row_handler=leave_out,
        ),
        convert_options=arrow_csv.ConvertOptions(
            column_types={column: pa.string() for column in header}, strings_can_be_null=False
        ),
    )
    for batch in batches:
        yield batch.to_pandas()


def _read_header(reader: "io.BufferedReader[Any]", name: str, form: Format) -> tuple[str, ...]:
    line = reader.readline().decode("utf-8").strip("\r\n")
    if not line.strip():
        raise DataError(f"{name} is empty: its first line must name the columns")
    if not form.quoted:
        names = line.split(form.delimiter)
    else:
        try:
            names = next(csv.reader([line], delimiter=form.delimiter))
        except csv.Error as error:
            raise DataError(f"{name}: the first line names no columns: {error}") from error
    columns = tuple(one.strip() for one in names)
    repeated = sorted({one for one in columns if columns.count(one) > 1})
    if repeated:
        raise DataError(f"{name} names column {repeated[0][:40]!r} twice: rename one of them")
    return columns


def _rows_in_open_quote(cells: pd.DataFrame) -> int:
    """Count the lines that an unclosed quote drew into the last row; 0 if the last row is whole."""
    last = [str(cell) for cell in cells.iloc[-1]] if len(cells) else []
    return max((_lines_of(cell) for cell in last if "\n" in cell), default=0)


def _lines_of(text: str) -> int:
    return 1 + text.removesuffix("\n").count("\n")


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200]


class _TextBytes(io.RawIOBase):
    """A byte stream that gives valid UTF-8 whatever comes in, and counts what it replaced."""

    def __init__(self, source: BinaryIO, form: Format) -> None:
        self._source = source
        self._decoder = codecs.getincrementaldecoder(form.encoding)(errors="replace")
        self._is_utf8 = form.encoding.startswith("utf-8")
        self._escaped_quote = f'{form.escape}"' if form.escape else ""
        self._ready = b""
        self._ended = False
        self.replaced_characters = 0
        self.quotes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer with at most as many bytes as it holds; 0 at the end."""
        while not self._ready and not self._ended:
            self._take_chunk()
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def _take_chunk(self) -> None:
        chunk = self._source.read(_CHUNK_BYTES)
        self._ended = not chunk
        text = self._decoder.decode(chunk, final=self._ended)
        self._ready = text.encode("utf-8")
        self.quotes += text.count('"')
        if self._escaped_quote:
            self.quotes -= text.count(self._escaped_quote)
        # The file may hold true U+FFFD too: those are text, so they are taken off again.
        true_ones = chunk.count(b"\xef\xbf\xbd") if self._is_utf8 else 0
        self.replaced_characters += text.count("\ufffd") - true_ones
