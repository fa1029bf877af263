"""A user's own labelled texts, from one table.

    text,label[,part]
    wake me at seven,alarm,train
    what is my balance,balance,test

CSV, TSV or Parquet, told by the file's name. `part` is train, validation or test; without it each
class is cut 80/10/10 at random, always in the same way. A text that stands there twice counts once.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from models.errors import DataError
from models.seeds import generator
from simulation.data.labelled_texts import LabelledTexts, Split, normalised

PARTS = ("train", "validation", "test")
_HELD_OUT_SHARE = 0.1
_LEAST = 10
"""Texts of a class: with fewer, a tenth of them is none."""


def load_own(path: Path, name: str) -> LabelledTexts:
    """Read a table of labelled texts.

    Args:
        path: a .csv, .tsv or .parquet file.
        name: what the set is called.

    Raises:
        DataError: if the file cannot be read, a column or a part is missing, a text or label is
            empty, or a class has too few texts.
    """
    table = _read(path)
    _check(path, table)
    table["key"] = [normalised(text) for text in table["text"]]
    table = table.drop_duplicates("key").reset_index(drop=True)
    names = sorted(set(table["label"]))
    if len(names) < 2:
        raise DataError(f"{path} has {len(names)} class, 2 or more are needed: add texts of others")
    labels = np.asarray([names.index(label) for label in table["label"]], np.int64)
    parts = table["part"].to_numpy() if "part" in table else _cut(path, labels, names)
    texts = table["text"].to_numpy()
    train, validation, test = (
        Split(tuple(texts[parts == part]), labels[parts == part]) for part in PARTS
    )
    return LabelledTexts(name, train, validation, test, tuple(names))


def _read(path: Path) -> pd.DataFrame:
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        if path.suffix in (".csv", ".tsv"):
            separator = "\t" if path.suffix == ".tsv" else ","
            return pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"cannot read {path} as a table of labelled texts: {reason}") from error
    raise DataError(f"{path} is no table of labelled texts: give a .csv, .tsv or .parquet file")


def _check(path: Path, table: pd.DataFrame) -> None:
    missing = [column for column in ("text", "label") if column not in table]
    if missing:
        raise DataError(f"{path} has no column {missing}, it has {list(table)}: rename some")
    for column in ("text", "label"):
        table[column] = table[column].fillna("").astype(str)
        empty = np.flatnonzero(table[column].str.strip() == "")
        if len(empty):
            raise DataError(f"{path}: row {empty[0] + 1} has an empty {column}: fill or drop it")
    if "part" in table:
        strange = sorted(set(map(str, table["part"])) - set(PARTS))
        absent = [part for part in PARTS if part not in set(table["part"])]
        if strange or absent:
            raise DataError(
                f"{path}: column part has {strange or absent} "
                f"{'too many' if strange else 'missing'}: use {', '.join(PARTS)}, or drop it"
            )


def _cut(path: Path, labels: np.ndarray, names: list[str]) -> np.ndarray:
    """Cut each class 80/10/10; return the part of each row, (n,) of str."""
    parts = np.full(len(labels), "train", dtype=object)
    for label, name in enumerate(names):
        rows = np.flatnonzero(labels == label)
        if len(rows) < _LEAST:
            raise DataError(
                f"{path}: class {name!r} has {len(rows)} different texts, at least {_LEAST} are "
                "needed to cut off validation and test: add some, or give a column part"
            )
        order = generator(0, "own-labelled-texts", label).permutation(rows)
        size = round(_HELD_OUT_SHARE * len(rows))
        parts[order[:size]], parts[order[size : 2 * size]] = "validation", "test"
    return parts
