"""How alike the finished encoder is to what it was made from, and how good it is at the start.

All figures of a bundle are taken as a phone would take them, one text per request (see
`models.encoder`).
"""

from collections.abc import Callable, Sequence

import numpy as np

from models.compression.neighbours import agreement, nearest, neighbour_agreement
from models.compression.pretraining.curriculum import Curriculum
from models.compression.report import Figure, ParityFigures
from models.encoder import open_session, run_graph
from models.errors import BudgetError

LEAST_INT8_COSINE = 0.95
"""Below this mean cosine with fp32 the quantisation has broken the encoder."""

NEIGHBOURS = 10


EncodeRows = Callable[[np.ndarray], np.ndarray]
"""Maps row numbers of a curriculum, (n,) int, to the student's vectors, (n, size) float32."""


def learning_figures(curriculum: Curriculum, encode: EncodeRows) -> dict[str, Figure]:
    """Return how near a student is to the teacher.

    Args:
        curriculum: the texts and the teacher's vectors.
        encode: the student; asked about the texts that are judged and no others.

    Returns:
        `neighbours` (share of the 10 nearest in common with the teacher, among the judged texts:
        items, or held-back prose without a catalogue), `query_neighbours` (the same for held-back
        queries, among items) and `held_back_cosine` (with the targets).
    """
    rows, theirs = curriculum.judged, curriculum.teacher_vectors
    ours = encode(rows)
    figures: dict[str, Figure] = {"neighbours": neighbour_agreement(theirs[rows], ours)}
    queries, k = curriculum.held_back_queries, min(NEIGHBOURS, len(rows))
    if len(queries):
        figures["query_neighbours"] = agreement(
            nearest(theirs[queries], theirs[rows], k), nearest(encode(queries), ours, k)
        )
    held = np.flatnonzero(curriculum.held_back)
    if len(held):
        cosines = (encode(held) * curriculum.targets[held]).sum(axis=1)
        figures["held_back_cosine"] = float(cosines.mean())
    return figures


def compare_graphs(
    fp32: bytes,
    int8: bytes,
    ids: Sequence[list[int]],
    curriculum: Curriculum,
    torch_onnx_max_abs_diff: float,
) -> ParityFigures:
    """Compare the graph that ships with its fp32 graph and with the teacher, over judged texts.

    Args:
        fp32: the serialised graph before quantisation.
        int8: the one that ships.
        ids: the pieces of every text of the curriculum.
        curriculum: the texts and the teacher's vectors.
        torch_onnx_max_abs_diff: measured at the export.

    Raises:
        BudgetError: if int8 is not near fp32: bytes were saved at the cost of the sense.
    """
    rows = curriculum.judged
    full, small = (_encode_one_by_one(graph, [ids[row] for row in rows]) for graph in (fp32, int8))
    cosine = float((small * full).sum(axis=1).mean())
    if not cosine >= LEAST_INT8_COSINE:  # also true for NaN
        raise BudgetError(
            f"the int8 encoder has a mean cosine of {cosine:.3f} with fp32, at least "
            f"{LEAST_INT8_COSINE} is needed: train longer or at a lower learning_rate"
        )
    return ParityFigures(
        torch_onnx_max_abs_diff=torch_onnx_max_abs_diff,
        int8_fp32_cosine=cosine,
        int8_neighbour_agreement=neighbour_agreement(full, small, NEIGHBOURS),
        teacher_neighbour_agreement=neighbour_agreement(
            curriculum.teacher_vectors[rows], small, NEIGHBOURS
        ),
        num_texts=len(rows),
    )


def _encode_one_by_one(graph: bytes, texts_ids: Sequence[list[int]]) -> np.ndarray:
    session = open_session(graph)
    return np.concatenate([run_graph(session, np.asarray([ids], np.int64)) for ids in texts_ids])
