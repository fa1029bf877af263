r"""Text tables (CSV, TSV and their kin) read as columns of text, whatever state they are in.

    user,item,time           a row of two cells      -> left out, counted
    ann,42,2020-01-01        a byte that is no UTF-8 -> U+FFFD, counted
    bob,42                   a quote never closed    -> the rows it swallowed left out, counted
    b\xffb,42,2020-01-02

Nothing is guessed: a cell stays the text it was ("007" is not 7), and what the text means is
decided in `checking`. Parsing is Arrow's, so millions of rows take seconds; the bytes flow through
a small decoder on the way, so a large file is never held twice.
"""

import codecs
import csv
import io
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
    """

    delimiter: str
    header: tuple[str, ...] = ()
    quoted: bool = False
    encoding: str = "utf-8-sig"


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


def read_text_table(source: Path | bytes, name: str, form: Format) -> TextTable:
    """Read a text table.

    Args:
        source: a file, or its content.
        name: what it is called in messages.
        form: how it is written.

    Raises:
        DataError: if it cannot be opened, is empty, or is no text table at all.
    """
    try:
        stream = (
            io.BytesIO(source) if isinstance(source, bytes) else checked_file(source).open("rb")
        )
        with stream, _TextBytes(stream, form.encoding) as decoded:
            return _parse(decoded, name, form)
    except pa.ArrowInvalid as error:
        raise DataError(f"{name} is no table of text: {_first_line(error)}") from error
    except OSError as error:
        raise DataError(f"cannot read {name}: {error.strerror or error}") from error


def _parse(decoded: "_TextBytes", name: str, form: Format) -> TextTable:
    reader = io.BufferedReader(decoded, _CHUNK_BYTES)
    header = form.header or _read_header(reader, name, form)
    if not reader.peek(1):
        empty = pd.DataFrame({column: pd.Series(dtype="str") for column in header})
        return TextTable(empty, 0, decoded.replaced_characters)
    broken: list[int] = []

    def leave_out(row: Any) -> str:
        broken.append(_lines_of(row.text or ""))
        return "skip"

    table = arrow_csv.read_csv(
        reader,
        read_options=arrow_csv.ReadOptions(
            column_names=list(header), use_threads=False, block_size=_BLOCK_BYTES
        ),
        parse_options=arrow_csv.ParseOptions(
            delimiter=form.delimiter,
            quote_char='"' if form.quoted else False,
            newlines_in_values=form.quoted,
            invalid_row_handler=leave_out,
        ),
        convert_options=arrow_csv.ConvertOptions(
            column_types={column: pa.string() for column in header}, strings_can_be_null=False
        ),
    )
    cells = table.to_pandas()
    if form.quoted and decoded.quotes % 2:
        swallowed = _rows_in_open_quote(cells)
        cells = cells.iloc[: len(cells) - (1 if swallowed else 0)]
        broken.append(swallowed)
    return TextTable(cells, sum(broken), decoded.replaced_characters)


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

    def __init__(self, source: BinaryIO, encoding: str) -> None:
        self._source = source
        self._decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
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
        # The file may hold true U+FFFD too: those are text, so they are taken off again.
        self.replaced_characters += text.count("\ufffd") - chunk.count(b"\xef\xbf\xbd")
