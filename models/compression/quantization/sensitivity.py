"""Which weights bear few bits: each alone is quantised, and the loss is looked at.

```
fp32 graph ------------------------> vectors of some texts
fp32 graph, one weight at b bits --> vectors          cosine, neighbours in common, bytes saved
                                        |
                 table of all weights and bits --> plan: the least loss that fits the bytes
```

The paper quantises "module-wise", which we read as: with an eye on each module. The table is that
eye. A plan is chosen as if losses added up, which holds roughly while they are small; what a plan
really loses is measured on its own graph (`compare`).

Vectors are those of the real graphs, one text per request, as on a phone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto

from models.compression.export.encoder_graph import STRUCTURE, Readout, export_graph, graph_parts
from models.compression.neighbours import neighbour_agreement
from models.compression.quantization.few_bits import FULL, BitPlan, uniform
from models.compression.student import Student
from models.encoder import open_session, run_graph
from models.errors import BudgetError, DataError
from models.progress import Progress, silent

NEIGHBOURS = 10


@dataclass(frozen=True, slots=True)
class Likeness:
    """How near a quantised graph is to fp32."""

    cosine: float  # mean over texts
    neighbours: float  # share of the 10 nearest in common, mean over texts


@dataclass(frozen=True, slots=True)
class SensitivityRow:
    """One weight alone at few bits."""

    weight: str
    bits: int
    cosine: float
    neighbours: float
    bytes_saved: int  # of numbers and steps, against fp32


@dataclass(frozen=True, slots=True)
class _Entry:
    loss: float  # sum of 1 - cosine
    saved: int
    plan: dict[str, int]


def sensitivity(
    student: Student,
    texts_ids: Sequence[Sequence[int]],
    plan_bits: Sequence[int] = (8, 4),
    progress: Progress = silent,
) -> tuple[SensitivityRow, ...]:
    """Quantise each weight alone and compare with fp32.

    Args:
        student: trained.
        texts_ids: per text its pieces, framed and cut; at least 2.
        plan_bits: the bits to try.
        progress: told about each graph.

    Returns:
        a row per weight and bits, in the student's order.

    Raises:
        DataError: if there are fewer than 2 texts.
    """
    full = uniform(student, FULL)
    graph = export_graph(student, full)
    vectors = encode(graph, texts_ids)
    rows = []
    tries = [(name, bits) for name in full for bits in plan_bits]
    for done, (name, bits) in enumerate(tries):
        progress("sensitivity", done, len(tries))
        small = export_graph(student, {**full, name: bits})
        near = compare(vectors, encode(small, texts_ids))
        saved = _stored(graph) - _stored(small)
        rows.append(SensitivityRow(name, bits, near.cosine, near.neighbours, saved))
    progress("sensitivity", len(tries), len(tries))
    return tuple(rows)


def compare(full: np.ndarray, small: np.ndarray) -> Likeness:
    """Compare two encoders' vectors of the same texts.

    Args:
        full: (n, V) float32, rows of length 1; n >= 2.
        small: likewise.

    Raises:
        DataError: if there are fewer than 2 texts: no neighbours.
    """
    if len(full) < 2:
        raise DataError(f"{len(full)} texts have no neighbours: compare encoders on 2 or more")
    cosine = float((full * small).sum(axis=1).mean())
    return Likeness(cosine, neighbour_agreement(full, small, NEIGHBOURS))


def choose_plan(
    student: Student,
    table: Sequence[SensitivityRow],
    budget_bytes: int,
    readout: Readout | None = None,
) -> BitPlan:
    """Return the plan of the least loss whose graph fits.

    The loss of a plan is the sum of 1 - cosine of its rows. Among all plans that none beats in loss
    and in bytes of numbers, this is the first whose whole graph fits. Bits that are not in the
    table are not considered.

    Args:
        student: what the table is of.
        table: from `sensitivity`.
        budget_bytes: most bytes of the graph.
        readout: as for `export_graph`.

    Raises:
        BudgetError: if no plan fits.
    """
    front = _front(_options(student, table))
    full_size: int = export_graph(student, uniform(student, FULL), readout).ByteSize()
    size = export_graph(student, front[0].plan, readout).ByteSize()
    # What no row tells of: norms and biases in float16, functions that unpack. The plan of the most
    # bits unpacks least, so no plan that fits is passed over.
    beside = size - (full_size - front[0].saved)
    for entry in front:
        if full_size - entry.saved + beside <= budget_bytes:
            size = export_graph(student, entry.plan, readout).ByteSize()
            if size <= budget_bytes:
                return entry.plan
    smallest = export_graph(student, front[-1].plan, readout).ByteSize()
    raise BudgetError(
        f"at the fewest bits tried the graph has {smallest:,} bytes, at most {budget_bytes:,} are "
        "allowed: keep fewer words, take a smaller student, or try fewer bits"
    )


def encode(graph: ModelProto, texts_ids: Sequence[Sequence[int]]) -> np.ndarray:
    """Run each text through a graph by itself.

    Returns:
        (len(texts_ids), V) float32.
    """
    session = open_session(graph.SerializeToString())
    return np.concatenate([run_graph(session, np.asarray([ids], np.int64)) for ids in texts_ids])


def _stored(graph: ModelProto) -> int:
    """Return the bytes of a graph's numbers and steps."""
    return sum(size for part, size in graph_parts(graph).items() if part != STRUCTURE)


def _options(student: Student, table: Sequence[SensitivityRow]) -> dict[str, list[SensitivityRow]]:
    """Return the rows of each weight, in the student's order."""
    options: dict[str, list[SensitivityRow]] = {name: [] for name in uniform(student, FULL)}
    for row in table:
        if row.weight not in options:
            raise DataError(f"the table has a row of {row.weight}, which the student has not")
        options[row.weight].append(row)
    empty = [name for name, rows in options.items() if not rows]
    if empty:
        raise DataError(f"the table has no row of {empty}: make it from this student")
    return options


def _front(options: Mapping[str, list[SensitivityRow]]) -> list[_Entry]:
    """Return the plans that no other one beats in both loss and bytes, by rising loss.

    Weight by weight, only such plans are kept: what is beaten so far is beaten in the end.
    """
    front = [_Entry(0.0, 0, {})]
    for name, rows in options.items():
        entries = [
            _Entry(
                entry.loss + 1 - row.cosine,
                entry.saved + row.bytes_saved,
                {**entry.plan, name: row.bits},
            )
            for entry in front
            for row in rows
        ]
        entries.sort(key=lambda entry: (entry.loss, -entry.saved))
        front = entries[:1]
        for entry in entries:
            if entry.saved > front[-1].saved:
                front.append(entry)
    return front
