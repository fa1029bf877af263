"""The one bundle that all scenarios run on: the encoder's own, with optional adapters as inputs.

general bundle --add_scenario_inputs--> the same words and weights, about 1 kB larger
"""

from pathlib import Path

import onnx

from models.bundle import (
    ENCODER_BUDGET_BYTES,
    GRAPH,
    TOKENIZER,
    VOCABULARY,
    EncoderBundle,
    write_bundle,
)
from models.classifier import labels_of
from models.compression.export.graph import graph_parts
from models.compression.scenarios.scenario_graph import add_scenario_inputs
from models.compression.student import StudentSettings
from models.errors import DataError
from models.scenarios_serving import POOLED_OUTPUT


def write_scenario_bundle(
    start: Path, out: Path, budget_bytes: int = ENCODER_BUDGET_BYTES
) -> EncoderBundle:
    """Write a copy of a bundle whose graph takes adapters; its vectors are the same, bit by bit.

    Args:
        start: bundle of a general encoder; it stays as it is.
        out: the new bundle's folder; an older bundle there is replaced.
        budget_bytes: most bytes of the new one.

    Raises:
        DataError: if `start` is no such bundle, or takes adapters already.
        BudgetError: if the new one does not fit.
    """
    bundle = EncoderBundle.open(start)
    origin = bundle.manifest["origin"]
    model = onnx.load_model_from_string(bundle.read(GRAPH))
    if POOLED_OUTPUT in [output.name for output in model.graph.output]:
        raise DataError(
            f"bundle {start} takes adapters already: give the general encoder it was made of"
        )
    if labels_of(origin) or "student" not in origin:
        raise DataError(
            f"bundle {start} is that of a task, or does not say what shape it has: give a general "
            "encoder of this version"
        )
    graph = add_scenario_inputs(model, StudentSettings.model_validate(origin["student"]))
    return write_bundle(
        out,
        {
            GRAPH: graph.SerializeToString(deterministic=True),
            VOCABULARY: bundle.read(VOCABULARY),
            TOKENIZER: bundle.read(TOKENIZER),
        },
        graph_parts=graph_parts(graph),
        vector_size=bundle.vector_size,
        origin=origin,
        budget_bytes=budget_bytes,
    )
