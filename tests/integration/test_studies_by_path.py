"""The studies on catalogues given by path, from the command line, with no change of code.

Both catalogues are made up: one in the files of MovieLens (CSV), one in those of MIND.
"""

from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from models.seeds import generator
from simulation.__main__ import run
from tests.integration.test_quickstart import write_inputs
from tests.models.conftest import WORDS

pytestmark = pytest.mark.slow

NUM_USERS, NUM_ITEMS = 60, 48
MORNING = datetime(2019, 11, 11, 8)
GENRES = ("Drama", "Comedy|War", "(no genres listed)")


def title_of(item: int) -> str:
    return f"{WORDS[item % 30]} {WORDS[(7 * item + 1) % 30]}"


def histories() -> list[list[int]]:
    """What each user chose, oldest first: mostly of one kind in four."""
    rng = generator(2, "studies-by-path")
    found = []
    for user in range(NUM_USERS):
        likes = [item for item in range(NUM_ITEMS) if item % 4 == user % 4]
        others = [item for item in range(NUM_ITEMS) if item % 4 != user % 4]
        chosen = [*rng.permutation(likes)[: 4 + user % 5], *rng.permutation(others)[:2]]
        found.append([int(item) for item in chosen])
    return found


def write_movielens(folder: Path) -> None:
    folder.mkdir()
    films = [
        f'{item + 1},"{title_of(item)}, The ({1980 + item})",{GENRES[item % 3]}'
        for item in range(NUM_ITEMS)
    ]
    (folder / "movies.csv").write_text("\n".join(["movieId,title,genres", *films, ""]))
    ratings = [
        f"{user + 1},{item + 1},{1 + (user + item) % 9 / 2},{1_000_000 + 60 * place + user}"
        for user, chosen in enumerate(histories())
        for place, item in enumerate(chosen)
    ]
    (folder / "ratings.csv").write_text(
        "\n".join(["userId,movieId,rating,timestamp", *ratings, ""])
    )


def write_mind(folder: Path) -> None:
    """A train and a dev part; what is clicked in dev is no event."""
    for name, users, last in (("train", range(NUM_USERS), 2), ("dev", range(0, NUM_USERS, 2), 1)):
        part = folder / f"MINDtiny_{name}"
        part.mkdir(parents=True)
        news = [
            f"N{item}\tnews\tlocal\t{title_of(item)}\tAbout {title_of(item + 1)}.\thttps://x\t[]\t[]"
            for item in range(NUM_ITEMS)
        ]
        (part / "news.tsv").write_text("\n".join([*news, ""]))
        rows = []
        for number, user in enumerate(users, 1):
            chosen = histories()[user]
            when = (MORNING + timedelta(minutes=number)).strftime("%m/%d/%Y %I:%M:%S %p")
            before = " ".join(f"N{item}" for item in chosen[:-last])
            clicked = chosen[-last]
            shown = f"N{clicked}-1 N{(clicked + 5) % NUM_ITEMS}-0 N{(clicked + 9) % NUM_ITEMS}-0"
            rows.append(f"{number}\tU{user}\t{when}\t{before}\t{shown}")
        (part / "behaviors.tsv").write_text("\n".join([*rows, ""]))


@pytest.fixture(scope="module")
def catalogues(tmp_path_factory):
    """Both catalogues, and a preset that is tiny and has the made-up text teacher."""
    folder = tmp_path_factory.mktemp("by-path")
    write_inputs(folder)
    write_movielens(folder / "ml-tiny")
    write_mind(folder / "mind-tiny")
    return folder


@pytest.mark.parametrize("name", ["text", "quality"])
@pytest.mark.parametrize("catalogue", ["ml-tiny", "mind-tiny"])
def test_a_study_runs_on_a_catalogue_given_by_path(catalogues, catalogue, name, monkeypatch):
    monkeypatch.setenv("POCKETFLEET_CACHE", str(catalogues / "cache"))
    out = catalogues / f"{catalogue}-{name}"
    settings = (f"preset={catalogues / 'tiny.toml'}", "data.source=auto", "data.items_path=",
                f"data.path={catalogues / catalogue}", "replicates=100")  # fmt: skip
    words = [word for one in settings for word in ("--set", one)]
    assert run(["study", name, "--seeds", "0", "--out", str(out), *words]) == 0
    found = pd.read_parquet(out / "summary.parquet")
    assert found["value"].between(0, 1).all() and found["data_sha256"].nunique() == 1
    assert (out / "report" / "index.html").is_file()
    if name == "text":
        assert set(found["slice"]) == {"warm", "cold", "cold among all"}
        warm = found[(found["slice"] == "warm") & (found["metric"] == "auc")]
        assert list(warm["arm"]) == ["none", "ids", "tf-idf", "static", "ei-bert", "teacher"]
        cold = found[(found["slice"] == "cold") & (found["metric"] == "auc")]
        assert 0.3 < cold.set_index("arm")["value"]["none"] < 0.7  # the guess
    else:
        assert found["arm"].nunique() == 8
        results = pd.read_parquet(out / "results.parquet")
        drawn = results[(results["arm"] == "private") & (results["metric"] == "epsilon")]
        assert drawn["value"].between(7, 8).all()  # 900 phones are not there; 57 are drawn
