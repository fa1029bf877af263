import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import DataError
from simulation.data import delimited
from simulation.data.delimited import (
    CSV,
    Format,
    checked_file,
    read_text_blocks,
    read_text_table,
)

TABS = Format("\t")


def cells(table):
    return table.cells.to_numpy().tolist()


def test_cells_stay_the_text_they_were():
    table = read_text_table(b" a , b\n007,1e3\nnan,\n", "t.csv", CSV)
    assert list(table.cells.columns) == ["a", "b"]
    assert cells(table) == [["007", "1e3"], ["nan", ""]]
    assert (table.broken_rows, table.replaced_characters) == (0, 0)


def test_quotes_protect_delimiters_and_line_breaks_in_csv_only():
    assert cells(read_text_table(b'a,b\n"x,\ny","say ""hi"""\n', "t", CSV)) == [
        ["x,\ny", 'say "hi"']
    ]
    assert cells(read_text_table(b'a\tb\n"x\ty"\n', "t", TABS)) == [['"x', 'y"']]


def test_rows_of_the_wrong_length_are_counted_and_left_out():
    table = read_text_table(b"a,b\n1,2\n3\n4,5,6\n\n7,8\n", "t", CSV)
    assert cells(table) == [["1", "2"], ["7", "8"]]
    assert table.broken_rows == 2


@pytest.mark.parametrize("row", [b'3,"open', b'"3,open'])
def test_a_quote_that_never_closes_costs_only_its_rows(row):
    table = read_text_table(b"a,b\n1,2\n" + row + b"\n5,6\n7,8\n", "t", CSV)
    assert cells(table) == [["1", "2"]]
    assert table.broken_rows == 3


def test_a_stray_quote_inside_a_plain_cell_protects_nothing():
    table = read_text_table(b'a,b\n6" nails,2\n3,4\n', "t", CSV)
    assert cells(table) == [['6" nails', "2"], ["3", "4"]]


def test_bytes_that_are_no_text_are_replaced_and_counted():
    table = read_text_table(b"a,b\nx\xff,\xe9t\xe9\n\xef\xbf\xbd,ok\n", "t", CSV)
    assert cells(table) == [["x\ufffd", "\ufffdt\ufffd"], ["\ufffd", "ok"]]
    assert table.replaced_characters == 3


def test_a_byte_order_mark_is_no_part_of_the_first_name():
    assert list(read_text_table(b"\xef\xbb\xbfuser,item\n1,2\n", "t", CSV).cells) == [
        "user",
        "item",
    ]


def test_latin_1_and_given_headers():
    form = Format("|", header=("a", "b"), encoding="latin-1")
    assert cells(read_text_table(b"1|\xc9t\xe9\n", "t", form)) == [["1", "Été"]]


def test_only_a_header_is_an_empty_table():
    table = read_text_table(b"a,b\n", "t", CSV)
    assert table.cells.empty
    assert list(table.cells.columns) == ["a", "b"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "t.csv is empty"),
        (b"\n1,2\n", "t.csv is empty"),
        (b"a,b,a\n1,2,3\n", "names column 'a' twice"),
    ],
)
def test_headers_that_name_no_columns(content, says):
    with pytest.raises(DataError, match=says):
        read_text_table(content, "t.csv", CSV)


def test_files_that_cannot_be_read(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="there is no file"):
        checked_file(tmp_path / "none.csv")
    with pytest.raises(DataError, match="is not a file"):
        checked_file(tmp_path)
    with pytest.raises(DataError, match="check the path"):
        checked_file(tmp_path / ("x" * 5000))
    monkeypatch.setattr(delimited, "MAX_INPUT_BYTES", 3)
    (tmp_path / "large.csv").write_text("a,b\n")
    with pytest.raises(DataError, match="4 bytes, the limit is 3"):
        checked_file(tmp_path / "large.csv")


def test_small_chunks_give_the_same_table(monkeypatch):
    content = "a,b\n" + "".join(f"é{number},\U0001f600\n" for number in range(50))
    whole = read_text_table(content.encode(), "t", CSV)
    monkeypatch.setattr(delimited, "_CHUNK_BYTES", 3)
    piecewise = read_text_table(content.encode(), "t", CSV)
    assert cells(piecewise) == cells(whole)
    assert piecewise.replaced_characters == 0


@given(st.binary(max_size=300))
def test_any_bytes_give_a_table_of_text_or_one_line(content):
    try:
        table = read_text_table(b"a,b\n" + content, "t", CSV)
    except DataError as error:
        assert "\n" not in str(error)
    else:
        assert all(isinstance(cell, str) for row in cells(table) for cell in row)


@given(st.lists(st.tuples(*2 * [st.text("ab \"',;é\n", min_size=1)]), max_size=8))
def test_a_well_formed_file_comes_back_as_it_was(rows):
    lines = [",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows]
    content = "\n".join(["a,b", *lines]) + "\n"
    table = read_text_table(content.encode(), "t", CSV)
    assert cells(table) == [list(row) for row in rows]
    assert table.broken_rows == 0


def test_an_escaped_quote_is_a_letter():
    form = Format(";", quoted=True, encoding="latin-1", escape="\\")
    table = read_text_table(b'"a";"b"\n"say \\"hi\\"";"2"\n"one \\";"3"\n"4";"\xe4"\n', "t", form)
    assert cells(table) == [['say "hi"', "2"], ["4", "ä"]]
    assert (table.broken_rows, table.replaced_characters) == (1, 0)


def test_latin_1_has_no_broken_bytes():
    form = Format(",", encoding="latin-1")
    assert read_text_table(b"a\n\xef\xbf\xbd\n", "t", form).replaced_characters == 0


wild_rows = st.lists(
    st.lists(
        st.text(st.sampled_from('ab,"\n é\ufffd'), max_size=6).filter(lambda cell: cell != "\n"),
        min_size=1,
        max_size=3,
    ),
    max_size=12,
)


@given(wild_rows, st.booleans())
def test_blocks_add_up_to_the_whole_table(rows, ends_open):
    quoted = [[f'"{cell.replace(chr(34), chr(34) * 2)}"' for cell in row] for row in rows]
    content = "a,b\n" + "".join(",".join(row) + "\n" for row in quoted)
    raw = (content + ('"1","never\nclosed\n' if ends_open else "")).encode() + b"\xff,9\n" * 2
    whole = read_text_table(raw, "t", CSV)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited, "_BLOCK_BYTES", 120)
        blocks = list(read_text_blocks(raw, "t", CSV))
    assert [row for block in blocks for row in cells(block)] == cells(whole)
    assert sum(block.broken_rows for block in blocks) == whole.broken_rows
    assert sum(block.replaced_characters for block in blocks) == whole.replaced_characters
