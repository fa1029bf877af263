import pytest

from models.errors import DataError
from simulation.data.catalogues import load_catalogue
from simulation.data.interactions import Columns
from simulation.data.movielens import load_movielens_100k, readable_title
from simulation.data.splits import split
from tests.simulation.data.made_up import FILMS, LEAVE_LAST, RATINGS, TEXTS, cached_wheel

GENRES = ["unknown", "Animation", "Comedy", "Crime", "Drama", "Romance", "War"]
INSIDE = "recbole/dataset_example/ml-100k/ml-100k"
# user index and item index in (user, time, row) order; users are 2, 7, 10
USERS = [0, 0, 0, 1, 2, 2, 2]
ITEMS = [1, 0, 3, 4, 1, 2, 5]


def grouplens_title(title, year):
    if year == "V":
        return f"{title} (V)"
    return f"{title} ({year})" if year.isdigit() else title


def recbole_tables(ratings=RATINGS):
    events = ["user_id:token\titem_id:token\trating:float\ttimestamp:float"]
    events += ["\t".join(row) for row in ratings]
    films = ["item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq"]
    films += ["\t".join(film) for film in FILMS]
    return {
        f"{INSIDE}.inter": "\n".join([*events, ""]).encode(),
        f"{INSIDE}.item": "\n".join([*films, ""]).encode(),
    }


def write_100k(folder):
    rows = []
    for film, title, year, genres in FILMS:
        flags = "|".join("1" if genre in genres.split() else "0" for genre in GENRES)
        rows.append(f"{film}|{grouplens_title(title, year)}|01-Jan-1990||http://x|{flags}\n")
    (folder / "u.data").write_text("".join("\t".join(row) + "\n" for row in RATINGS))
    (folder / "u.item").write_text("".join(rows), encoding="latin-1")
    genres = [f"{genre}|{number}\n" for number, genre in enumerate(GENRES)]
    (folder / "u.genre").write_text("".join(genres) + "\n")


def write_1m(folder):
    rows = [
        f"{film}::{grouplens_title(title, year)}::{genres.replace(' ', '|')}\n"
        for film, title, year, genres in FILMS
    ]
    (folder / "ratings.dat").write_text("".join("::".join(row) + "\n" for row in RATINGS))
    (folder / "movies.dat").write_text("".join(rows), encoding="latin-1")


def write_csv(folder):
    rows = [
        f'{film},"{grouplens_title(title, year)}",{genres.replace(" ", "|")}'
        for film, title, year, genres in FILMS
    ]
    films = "\n".join(["movieId,title,genres", *rows, ""])
    (folder / "movies.csv").write_text(
        films.replace("unknown", "(no genres listed)"), encoding="utf-8"
    )
    ratings = "\n".join(
        ["userId,movieId,rating,timestamp", *(",".join(row) for row in RATINGS), ""]
    )
    (folder / "ratings.csv").write_text(ratings)
    (folder / "tags.csv").write_text("userId,movieId,tag,timestamp\n2,11,dark,1\n")


def load(form, tmp_path):
    if form == "recbole":
        return load_movielens_100k(
            tmp_path, wheel=cached_wheel(tmp_path, "recbole-box", recbole_tables())
        )
    {"100k": write_100k, "1m": write_1m, "csv": write_csv}[form](tmp_path)
    return load_catalogue("movielens-folder", tmp_path)


@pytest.mark.parametrize("form", ["recbole", "100k", "1m", "csv"])
def test_all_four_forms_give_the_same_table(form, tmp_path):
    data = load(form, tmp_path)
    assert data.items[Columns.TEXT].tolist() == TEXTS
    assert data.items[Columns.TITLE].tolist() == [text.partition(". ")[0] for text in TEXTS]
    assert data.items[Columns.ITEM].tolist() == [film for film, *_ in FILMS]
    assert data.users.tolist() == ["2", "7", "10"]
    assert data.events[Columns.USER].tolist() == USERS
    assert data.events[Columns.ITEM].tolist() == ITEMS
    assert data.events[Columns.VALUE].tolist() == [1, 4, 2, 5, 5, 3, 3]
    assert data.events[Columns.TIME_S].min() == 900000100
    assert data.intake.lines() == [
        "7 event rows read",
        "6 item rows read",
        "1 users with one event: kept for training only",
    ]
    assert "Harper" in data.citation
    assert "redistribution" in data.licence


def test_malformed_rows_are_counted_and_dropped(tmp_path):
    broken = [
        ("2", "11"),
        ("3", "11", "4", "soon"),
        ("2", "99", "4", "900000300"),
        ("", "11", "4", "1"),
    ]
    wheel = cached_wheel(tmp_path, "recbole-box", recbole_tables([*RATINGS, *broken, RATINGS[0]]))
    data = load_movielens_100k(tmp_path, wheel=wheel)
    assert data.events[Columns.ITEM].tolist() == ITEMS
    counts = data.intake
    assert (counts.broken_rows, counts.unknown_items, counts.duplicate_rows) == (3, 1, 1)


def test_a_missing_column_of_the_wheel_is_named(tmp_path):
    tables = recbole_tables()
    tables[f"{INSIDE}.inter"] = tables[f"{INSIDE}.inter"].replace(b"timestamp", b"moment")
    with pytest.raises(DataError, match=r"ml-100k\.inter has no column 'timestamp'.*'moment'"):
        load_movielens_100k(tmp_path, wheel=cached_wheel(tmp_path, "recbole-box", tables))


def test_folders_that_hold_something_else(tmp_path):
    with pytest.raises(DataError, match="there is no folder"):
        load_catalogue("movielens-folder", tmp_path / "none")
    with pytest.raises(
        DataError, match=r"must hold one of MovieLens 100K \(u\.data\).* found nothing"
    ):
        load_catalogue("movielens-folder", tmp_path)
    write_100k(tmp_path)
    (tmp_path / "u.item").unlink()
    with pytest.raises(DataError, match=r"there is no file .*u\.item"):
        load_catalogue("movielens-folder", tmp_path)


def test_a_genre_file_that_does_not_fit_is_one_line(tmp_path):
    write_100k(tmp_path)
    (tmp_path / "u.genre").write_text("Drama|0\n")
    with pytest.raises(DataError, match="no usable item"):
        load_catalogue("movielens-folder", tmp_path)


@pytest.mark.parametrize(
    ("raw", "readable"),
    [
        ("Goose, A (1990)", "A Goose (1990)"),
        ("Apple, An", "An Apple"),
        ("Here, There, The End (1990)", "Here, There, The End (1990)"),
        ("Hill, the Valley, The (Long One) (1990)", "The Hill, the Valley (Long One) (1990)"),
        ("Rain (Pluie, La) (1990)", "Rain (La Pluie) (1990)"),
        ("Long Film (1990) (V)", "Long Film (1990)"),
        ("(1990)", "(1990)"),
        ("1984 (1990)", "1984 (1990)"),
        ("", ""),
    ],
)
def test_titles(raw, readable):
    assert readable_title(raw) == readable


@pytest.mark.slow
def test_the_real_wheel(tmp_path):
    """Fetches 2 MB through pip."""
    data = load_movielens_100k(tmp_path)
    assert (data.num_users, data.num_items, data.num_events) == (943, 1682, 100_000)
    assert data.intake.lines() == ["100,000 event rows read", "1,682 item rows read"]
    assert split(data, LEAVE_LAST, 0).tied_users == 415
    assert not data.items[Columns.TITLE].str.contains(r", (?:The|A|An) \(\d{4}\)$").any()
