"""Interactions that are in a program's memory already: columns in, the checked table out."""

from collections.abc import Sequence

import pandas as pd

from models.errors import DataError
from simulation.data.checking import RawTables, build_interactions
from simulation.data.interactions import Columns, Interactions
from simulation.data.raw_events import RAW_TIME


def interactions_of(
    users: Sequence[object],
    items: Sequence[int],
    times_s: Sequence[float] | None,
    texts: Sequence[str],
    *,
    name: str = "own data",
) -> Interactions:
    """Check events and number users; item i keeps its number.

    Args:
        users: (E,) who; any ids.
        items: (E,) what, 0 .. N - 1.
        times_s: (E,) when, seconds since 1970; None: there are no times.
        texts: (N,) of the catalogue, each not empty.
        name: what the data are called in tables.

    Raises:
        DataError: if columns differ in length, an item has no text, or nothing is left.

    >>> table = interactions_of(["ann", "ann", "bob"], [1, 0, 1], [5, 9, 7], ["a film", "a book"])
    >>> table.num_users, table.num_items, table.events[Columns.ITEM].tolist()
    (2, 2, [1, 0, 1])
    """
    columns = {Columns.USER: [str(user) for user in users], Columns.ITEM: list(map(str, items))}
    if times_s is not None:
        columns[RAW_TIME] = [str(int(time)) for time in times_s]
    lengths = {column: len(values) for column, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"{name}: columns must be of one length, they have {lengths}")
    if empty := [number for number, text in enumerate(texts) if not text.strip()]:
        raise DataError(f"{name}: items {empty[:10]} have no text: give each a title at least")
    ids = [str(number) for number in range(len(texts))]
    catalogue = {Columns.ITEM: ids, Columns.TITLE: list(texts), Columns.TEXT: list(texts)}
    raw = RawTables(
        name=name,
        events=pd.DataFrame(columns, dtype="str"),
        items=pd.DataFrame(catalogue, dtype="str"),
    )
    return build_interactions(raw)
