import pandas as pd
import pytest

from models.errors import DataError
from simulation.data.labelled_texts import normalised
from simulation.data.own_labelled_texts import load_own


def table(count=20, **more):
    texts = [f"{label} number {n}" for label in ("one", "two") for n in range(count)]
    labels = [label for label in ("one", "two") for _ in range(count)]
    return pd.DataFrame({"text": texts, "label": labels, **more})


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet"])
def test_every_form_gives_the_same_set(tmp_path, ending):
    path = tmp_path / f"mine.{ending}"
    if ending == "parquet":
        table().to_parquet(path)
    else:
        table().to_csv(path, sep="\t" if ending == "tsv" else ",", index=False)
    found = load_own(path, "mine")
    sizes = [len(part.texts) for part in (found.train, found.validation, found.test)]
    assert sizes == [32, 4, 4]
    assert found.label_names == ("one", "two")
    for part in (found.train, found.validation, found.test):
        for text, label in zip(part.texts, part.labels, strict=True):
            assert text.startswith(found.label_names[label])


def test_a_text_is_in_one_part_and_the_cut_is_always_the_same(tmp_path):
    twice = pd.concat([table(), table().assign(text=lambda t: t["text"].str.upper())])
    twice.to_csv(tmp_path / "mine.csv", index=False)
    first, again = (load_own(tmp_path / "mine.csv", "mine") for _ in range(2))
    parts = [first.train.texts, first.validation.texts, first.test.texts]
    keys = [normalised(text) for part in parts for text in part]
    assert len(keys) == len(set(keys)) == 40
    assert parts == [again.train.texts, again.validation.texts, again.test.texts]


def test_own_parts_are_kept(tmp_path):
    parts = ["train", "validation", "test", "train"] * 10
    table(part=parts).to_csv(tmp_path / "mine.csv", index=False)
    found = load_own(tmp_path / "mine.csv", "mine")
    assert [len(part.texts) for part in (found.train, found.validation, found.test)] == [20, 10, 10]
    assert found.validation.texts[0] == "one number 1"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (table().rename(columns={"label": "class"}), "has no column"),
        (table().assign(label=""), "row 1 has an empty label"),
        (table(count=4), "class 'one' has 4 different texts, at least 10"),
        (table().assign(label="one"), "has 1 class, 2 or more"),
        (table(part="dev"), r"\['dev'\] too many"),
        (table(part="train"), r"\['validation', 'test'\] missing"),
    ],
)
def test_what_cannot_be_learnt_from_is_one_clear_line(tmp_path, content, message):
    content.to_csv(tmp_path / "mine.csv", index=False)
    with pytest.raises(DataError, match=message):
        load_own(tmp_path / "mine.csv", "mine")


def test_a_file_that_is_no_table_is_refused(tmp_path):
    with pytest.raises(DataError, match="is no table of labelled texts"):
        load_own(tmp_path / "mine.xlsx", "mine")
    with pytest.raises(DataError, match="cannot read"):
        load_own(tmp_path / "mine.csv", "mine")
    (tmp_path / "mine.parquet").write_bytes(b"no parquet")
    with pytest.raises(DataError, match="cannot read"):
        load_own(tmp_path / "mine.parquet", "mine")
