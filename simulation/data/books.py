r"""Two catalogues of books, from the folders or zips that people download.

    Book-Crossing   BX-Book-Ratings.csv   "User-ID";"ISBN";"Book-Rating"     Latin-1, ";", 0 to 10
                    BX-Books.csv          "ISBN";"Book-Title";"Book-Author";...   \" in titles
    goodbooks-10k   ratings.csv           user_id,book_id,rating             UTF-8, 1 to 5
                    books.csv             book_id,...,authors,...,title,...

Neither has times: split by `random`. In Book-Crossing a rating of 0 says that somebody had to do
with a book and did not rate it: an event like any other, of value 0, and counted. Its titles have
HTML entities and characters that were lost before anybody packed them; ratings name ISBNs that have
no row of a book. All of that is counted. (The file of goodbooks-10k is said to be in the order of
time; no column says so, so it is not used.)

Sources: C.-N. Ziegler et al., Improving Recommendation Lists Through Topic Diversification, WWW
2005; Z. Zajac, goodbooks-10k, 2017.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import pandas as pd

from simulation.data.checking import RawTables, build_interactions, chosen_columns
from simulation.data.delimited import CSV, Format, TextTable, read_text_blocks, read_text_table
from simulation.data.downloads import Download
from simulation.data.interactions import Columns, Interactions

BX_RATINGS, BX_BOOKS = "BX-Book-Ratings.csv", "BX-Books.csv"
GOOD_RATINGS, GOOD_BOOKS = "ratings.csv", "books.csv"

_BX = Format(";", quoted=True, encoding="latin-1", escape="\\")
_LOST = "\u00ef\u00bf\u00bd"
"""U+FFFD in UTF-8, read as Latin-1: a character that was lost before the file was packed."""


def load_book_crossing(download: Download, folder: str) -> Interactions:
    """Load Book-Crossing.

    Raises:
        DataError: if a file is missing or unreadable, or holds nothing usable.
    """
    books = read_text_table(download.stream(folder, BX_BOOKS), BX_BOOKS, _BX)
    columns = {
        "ISBN": Columns.ITEM,
        "Book-Title": Columns.TITLE,
        "Book-Author": "author",
        "Year-Of-Publication": "year",
    }
    (books,) = chosen_columns([books], columns, BX_BOOKS)
    cells = books.cells.apply(lambda column: column.str.replace(_LOST, "\ufffd", regex=False))
    lost = sum(int(column.str.count(_LOST).sum()) for _, column in books.cells.items())
    year = cells["year"].str.strip()
    dated = cells[Columns.TITLE] + " (" + year + ")"
    known = year.str.fullmatch(r"1[0-9]{3}|20[0-9]{2}") & (cells[Columns.TITLE].str.strip() != "")
    names = {"User-ID": Columns.USER, "ISBN": Columns.ITEM, "Book-Rating": Columns.VALUE}
    blocks = read_text_blocks(download.stream(folder, BX_RATINGS), BX_RATINGS, _BX)
    return _build(
        "Book-Crossing",
        _with_plain_isbns(chosen_columns(blocks, names, BX_RATINGS)),
        isbn=_plain_isbns(cells[Columns.ITEM]),
        title=cells[Columns.TITLE].where(~known, dated),
        author=cells["author"],
        books=replace(books, replaced_characters=books.replaced_characters + lost),
        zero_is_implicit=True,
        licence="free for research; none stated",
        citation=(
            "C.-N. Ziegler, S. M. McNee, J. A. Konstan and G. Lausen, Improving Recommendation "
            "Lists Through Topic Diversification, WWW 2005"
        ),
    )


def load_goodbooks(download: Download, folder: str) -> Interactions:
    """Load goodbooks-10k.

    Raises:
        DataError: if a file is missing or unreadable, or holds nothing usable.
    """
    books = read_text_table(download.stream(folder, GOOD_BOOKS), GOOD_BOOKS, CSV)
    columns = {"book_id": Columns.ITEM, "title": Columns.TITLE, "authors": "author"}
    (books,) = chosen_columns([books], columns, GOOD_BOOKS)
    names = {"user_id": Columns.USER, "book_id": Columns.ITEM, "rating": Columns.VALUE}
    blocks = read_text_blocks(download.stream(folder, GOOD_RATINGS), GOOD_RATINGS, CSV)
    return _build(
        "goodbooks-10k",
        chosen_columns(blocks, names, GOOD_RATINGS),
        isbn=books.cells[Columns.ITEM],
        title=books.cells[Columns.TITLE],
        author=books.cells["author"],
        books=books,
        zero_is_implicit=False,
        licence="CC BY-SA 4.0",
        citation="Z. Zajac, goodbooks-10k: a new dataset for book recommendations, FastML, 2017",
    )


def _build(
    name: str,
    ratings: Iterable[TextTable],
    *,
    isbn: pd.Series,
    title: pd.Series,
    author: pd.Series,
    books: TextTable,
    zero_is_implicit: bool,
    licence: str,
    citation: str,
) -> Interactions:
    """Check ratings and books; the text of a book is its title and its author."""
    title, author = title.str.strip(), author.str.strip()
    text = (title + ". " + author).where((title != "") & (author != ""), title)
    return build_interactions(
        RawTables(
            name=name,
            events=ratings,
            items=pd.DataFrame({Columns.ITEM: isbn, Columns.TITLE: title, Columns.TEXT: text}),
            broken_item_rows=books.broken_rows,
            replaced_characters=books.replaced_characters,
            zero_is_implicit=zero_is_implicit,
            licence=licence,
            citation=citation,
        )
    )


def _with_plain_isbns(ratings: Iterable[TextTable]) -> Iterator[TextTable]:
    for table in ratings:
        isbn = _plain_isbns(table.cells[Columns.ITEM])
        yield replace(table, cells=table.cells.assign(**{Columns.ITEM: isbn}))


def _plain_isbns(written: pd.Series) -> pd.Series:
    """ISBNs as one writes them: people typed blanks, quotes, hyphens and a small x.

    >>> _plain_isbns(pd.Series([' 0-345-41714x', '"0330299891"'])).tolist()
    ['034541714X', '0330299891']
    """
    return written.str.replace(r'[\s"\\-]', "", regex=True).str.upper()
