import zipfile

import pytest

from models.errors import DataError
from simulation.data import downloads
from simulation.data.catalogues import load_catalogue
from simulation.data.downloads import Download
from simulation.data.interactions import Columns

RATINGS = "userId,movieId,rating,timestamp\n1,1,4.0,900000000\n1,2,3.5,900000001\n"
MOVIES = 'movieId,title,genres\n1,"Quiet Harbour, The (1991)",Crime|Drama\n2,Moon,War\n'


def zipped(path, members, mode="w", **options):
    with zipfile.ZipFile(path, mode, **options) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def files(prefix=""):
    return {f"{prefix}ratings.csv": RATINGS, f"{prefix}movies.csv": MOVIES}


def write(folder):
    folder.mkdir(parents=True)
    for name, content in files().items():
        (folder / name).write_text(content)


def test_a_folder_a_folder_in_it_and_a_zip_are_the_same(tmp_path):
    write(tmp_path / "direct")
    write(tmp_path / "nested" / "ml-tiny")
    packed = zipped(tmp_path / "ml-tiny.zip", files("ml-tiny/") | {"__MACOSX/._x": "", ".x": ""})
    (tmp_path / "box").mkdir()
    zipped(tmp_path / "box" / "ml-tiny.zip", files("ml-tiny/"))
    made = [load_catalogue("auto", tmp_path / name) for name in ("direct", "nested", "box")]
    made.append(load_catalogue("movielens-folder", packed))
    assert [one.name for one in made] == ["MovieLens", *["MovieLens ml-tiny"] * 3]
    for one in made:
        assert one.items[Columns.TEXT].tolist() == [
            "The Quiet Harbour (1991). Crime Drama",
            "Moon. War",
        ]
        assert one.events[Columns.TIME_S].tolist() == [900000000, 900000001]


@pytest.mark.parametrize(
    "name", ["../ratings.csv", "/etc/ratings.csv", "a/../../ratings.csv", "a\\..\\x"]
)
def test_a_path_that_leads_out_of_a_zip_is_not_trusted(name, tmp_path):
    path = zipped(tmp_path / "x.zip", {name: RATINGS})
    with pytest.raises(DataError, match="leads out of it: not trusted"):
        load_catalogue("auto", path)


def test_a_zip_that_unpacks_to_far_more_is_not_trusted(tmp_path):
    big = MOVIES + "3," + "a" * (4 << 20) + ",War\n"
    bomb = files() | {"movies.csv": big}
    path = zipped(tmp_path / "x.zip", bomb, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(DataError, match=r"more than 200 times as many: not trusted"):
        load_catalogue("auto", path)


def test_a_member_is_no_larger_than_we_read(tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "MAX_INPUT_BYTES", 20)
    with pytest.raises(DataError, match=r"movies\.csv of .* the limit is 20: give a part"):
        load_catalogue("auto", zipped(tmp_path / "x.zip", files()))


def test_a_member_twice_is_not_trusted(tmp_path):
    path = zipped(tmp_path / "x.zip", files())
    with pytest.warns(UserWarning, match="Duplicate name"):
        zipped(path, {"ratings.csv": RATINGS}, mode="a")
    with pytest.raises(DataError, match=r"holds 'ratings\.csv' twice: not trusted"):
        load_catalogue("auto", path)


def test_too_many_files_are_not_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "MAX_FILES", 1)
    write(tmp_path / "x")
    with pytest.raises(DataError, match="more than 1 files: give the data's own folder"):
        load_catalogue("auto", tmp_path / "x")


def test_damaged_zips_are_one_line(tmp_path):
    path = zipped(tmp_path / "x.zip", files(), compression=zipfile.ZIP_DEFLATED)
    whole = path.read_bytes()
    at = whole.index(b"ratings.csv") + len("ratings.csv") + 4
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) * 8 + whole[at + 8 :])
    with pytest.raises(DataError, match=r"damaged|cannot read"):
        load_catalogue("auto", path)
    path.write_bytes(b"no zip")
    with pytest.raises(DataError, match="is no zip that we can read"):
        load_catalogue("auto", path)


def test_paths_that_are_no_catalogue(tmp_path):
    with pytest.raises(DataError, match=r"there is no folder .*/none and no such zip"):
        Download.open(tmp_path / "none")
    (tmp_path / "file.txt").write_text("x")
    with pytest.raises(DataError, match="is no folder and no zip"):
        Download.open(tmp_path / "file.txt")
    with pytest.raises(
        DataError,
        match=r"no catalogue that data\.source=auto reads: it must hold one of MovieLens 100K "
        r"\(u\.data\);.* MIND \(news\.tsv, behaviors\.tsv\).*; found file\.txt",
    ):
        load_catalogue("auto", tmp_path)
    write(tmp_path / "a")
    write(tmp_path / "b")
    with pytest.raises(DataError, match=r"more than one catalogue: MovieLens CSV in 'a', 'b'"):
        load_catalogue("auto", tmp_path)
    with pytest.raises(DataError, match=r"data\.source=mind reads: it must hold one of MIND"):
        load_catalogue("mind", tmp_path / "a")
