"""All books and ratings here are made up, in the formats of Book-Crossing and goodbooks-10k."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import DataError
from simulation.data.books import load_book_crossing, load_goodbooks
from simulation.data.catalogues import load_catalogue
from simulation.data.downloads import Download
from simulation.data.interactions import Columns

BX_HEADER = (
    '"ISBN";"Book-Title";"Book-Author";"Year-Of-Publication";"Publisher";"Image-URL-S";'
    '"Image-URL-M";"Image-URL-L"'
)


def bx_book(isbn, title, author="A. Writer", year="1999"):
    return (
        f'"{isbn}";"{title}";"{author}";"{year}";"A &amp; B";"http://x/s";"http://x/m";"http://x/l"'
    )


def write_bx(folder, books, ratings):
    folder.mkdir(exist_ok=True)
    content = "\r\n".join([BX_HEADER, *books, ""])
    (folder / "BX-Books.csv").write_bytes(content.encode("latin-1"))
    rows = [";".join(f'"{cell}"' for cell in row) for row in ratings]
    content = "\n".join(['"User-ID";"ISBN";"Book-Rating"', *rows, ""])
    (folder / "BX-Book-Ratings.csv").write_bytes(content.encode("latin-1"))


BOOKS = [
    bx_book("0330000001", "Der Bär &amp; die Königin"),
    bx_book("033000002X", r"Peter \"Pipe\" Rides Again", year="0"),
    bx_book("0330000003", "Lost ï¿½ Letters", author="", year="2050"),
    bx_book("0330000004", "", author="Nobody"),
    r'"0330000005";"One \";Two";"2000";"Too few";"s";"m";"l"',
]
RATINGS = [
    ("276725", "0330000001", "0"),
    ("276725", " 033000002x", "5"),
    ("8", "0-330-000003", "10"),
    ("8", "9999999999", "7"),  # no such book
    ("8", "0330000003", "0"),  # once more, in plain writing
    ("8", "0330000004", "much"),
]


def test_book_crossing_is_read_as_it_lies_there(tmp_path):
    write_bx(tmp_path, BOOKS, RATINGS)
    data = load_catalogue("auto", tmp_path)
    assert (data.name, data.has_time) == ("Book-Crossing", False)
    assert data.items[Columns.ITEM].tolist() == [
        "0330000001",
        "033000002X",
        "0330000003",
        "0330000004",
    ]
    assert data.items[Columns.TEXT].tolist() == [
        "Der Bär & die Königin (1999). A. Writer",
        'Peter "Pipe" Rides Again. A. Writer',
        "Lost \ufffd Letters (2050)",
        "0330000004",
    ]
    assert data.users.tolist() == ["8", "276725"]
    assert data.events[Columns.ITEM].tolist() == [2, 3, 0, 1]
    assert data.events[Columns.VALUE].tolist() == [10, 1, 0, 5]
    counts = data.intake
    assert (counts.implicit_values, counts.missing_values, counts.unknown_items) == (1, 1, 1)
    assert (counts.broken_items, counts.html_entities, counts.empty_texts) == (1, 1, 1)
    assert (counts.duplicate_rows, counts.replaced_characters) == (1, 1)


def test_goodbooks_is_title_and_author(tmp_path):
    (tmp_path / "books.csv").write_text(
        "book_id,goodreads_book_id,authors,original_publication_year,title,small_image_url\n"
        '1,77,"Ann Writer, Bob Other",2008.0,"The Games (The Games, #1)",http://x\n'
        "2,78,,1990.0,Été,http://x\n",
        encoding="utf-8",
    )
    (tmp_path / "ratings.csv").write_text("user_id,book_id,rating\n1,1,5\n1,2,0\n2,2,4\n3,9,1\n")
    data = load_catalogue("auto", tmp_path)
    assert data.name == "goodbooks-10k"
    assert data.items[Columns.TEXT].tolist() == [
        "The Games (The Games, #1). Ann Writer, Bob Other",
        "Été",
    ]
    assert data.events[Columns.VALUE].tolist() == [5, 0, 4]
    assert (data.intake.unknown_items, data.intake.implicit_values) == (1, 0)


def test_a_missing_column_is_named(tmp_path):
    write_bx(tmp_path, BOOKS, RATINGS)
    text = (tmp_path / "BX-Book-Ratings.csv").read_text("latin-1")
    (tmp_path / "BX-Book-Ratings.csv").write_text(text.replace("ISBN", "Book"), "latin-1")
    with pytest.raises(DataError, match=r"BX-Book-Ratings\.csv has no column 'ISBN'"):
        load_catalogue("book-crossing", tmp_path)


words = st.text(st.sampled_from('abÄ&;,"# '), min_size=1, max_size=8).map(
    lambda text: " ".join(text.replace("&", "and").split())
)
titles = st.lists(words.filter(bool), min_size=1, max_size=5)


@settings(max_examples=40)
@given(titles, st.lists(st.tuples(st.integers(1, 4), st.integers(0, 4)), min_size=1, unique=True))
def test_what_was_written_is_read(tmp_path_factory, names, pairs):
    """parse(write(table)) == table, for both ways to write a book."""
    folder = tmp_path_factory.mktemp("books")
    pairs = [(user, item % len(names)) for user, item in pairs]
    expected = set(pairs)
    books = [
        bx_book(f"{number:010d}", name.replace('"', '\\"'), author="", year="0")
        for number, name in enumerate(names)
    ]
    write_bx(folder / "bx", books, [(user, f"{item:010d}", 3) for user, item in pairs])
    good = folder / "good"
    good.mkdir()
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerows([("book_id", "authors", "title"), *((n, "", t) for n, t in enumerate(names))])
    (good / "books.csv").write_text(stream.getvalue(), encoding="utf-8")
    rows = "\n".join(f"{user},{item},3" for user, item in pairs)
    (good / "ratings.csv").write_text(f"user_id,book_id,rating\n{rows}\n")
    for load, where in ((load_book_crossing, "bx"), (load_goodbooks, "good")):
        data = load(Download.open(folder / where), "")
        assert data.items[Columns.TEXT].tolist() == names
        users = data.users[data.events[Columns.USER]].astype(int).tolist()
        assert set(zip(users, data.events[Columns.ITEM].tolist(), strict=True)) == expected
        assert data.intake.duplicate_rows == len(pairs) - len(expected)
