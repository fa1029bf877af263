"""The last four stages: a trained student becomes a bundle in few bits, inside its budget."""

from pathlib import Path

from onnx import ModelProto

from models.bundle import GRAPH, TOKENIZER, VOCABULARY, EncoderBundle, write_bundle
from models.compression.export.encoder_graph import check_parity, export_graph
from models.compression.export.graph import graph_parts
from models.compression.job import Job
from models.compression.judgement import compare_graphs
from models.compression.quantization.few_bits import FULL, uniform
from models.compression.quantization.polish import polish
from models.compression.report import Figure, ParityFigures, StageClock
from models.compression.student import Student
from models.wordpiece import vocabulary_to_bytes


def ship(
    clock: StageClock, job: Job, student: Student, out: Path
) -> tuple[EncoderBundle, ParityFigures]:
    """Turn a trained student into a bundle: polish, export, quantization, bundle.

    Args:
        clock: gets a row for each of the four stages.
        job: what it was trained on; its budget is the bundle's.
        student: trained; the polish changes it.
        out: the bundle's folder.

    Raises:
        BudgetError: if the bundle does not fit, or rounding broke the student.
    """
    clock.run("polish", _polish, job, student)
    graph, difference = clock.run("export", _export, job, student)
    small, parity = clock.run("quantization", _quantization, job, student, graph, difference)
    return clock.run("bundle", _bundle, job, small, out), parity


def _polish(job: Job, student: Student) -> tuple[None, dict[str, Figure]]:
    settings = job.settings.quantization.polish
    learnt = (~job.lessons.held_back).nonzero()[0]
    losses = polish(
        student,
        job.settings.plan,
        [job.ids[row] for row in learnt],
        job.lessons.targets[learnt],
        settings,
        job.seed,
        job.progress,
        job.work / "polish",
    )
    return None, {"steps": len(losses), "loss": losses[-1] if losses else 0.0}


def _export(job: Job, student: Student) -> tuple[tuple[ModelProto, float], dict[str, Figure]]:
    graph = export_graph(student, uniform(student, FULL))
    judged = [job.ids[row] for row in job.lessons.judged]
    difference = check_parity(student, graph, judged)
    return (graph, difference), {
        "fp32_bytes": graph.ByteSize(),
        "nodes": len(graph.graph.node),
        "torch_onnx_max_abs_diff": difference,
    }


def _quantization(
    job: Job, student: Student, graph: ModelProto, difference: float
) -> tuple[tuple[ModelProto, ParityFigures], dict[str, Figure]]:
    small = export_graph(student, job.settings.plan)
    full, few = (model.SerializeToString() for model in (graph, small))
    parity = compare_graphs(full, few, job.ids, job.lessons, difference)
    return (small, parity), {
        "graph_bytes": small.ByteSize(),
        "shrunk_by": graph.ByteSize() / small.ByteSize(),
        "int8_fp32_cosine": parity.int8_fp32_cosine,
        "neighbours": parity.teacher_neighbour_agreement,
    }


def _bundle(job: Job, graph: ModelProto, out: Path) -> tuple[EncoderBundle, dict[str, Figure]]:
    settings = job.settings
    files = {
        GRAPH: graph.SerializeToString(deterministic=True),
        VOCABULARY: vocabulary_to_bytes(job.words.pieces),
        TOKENIZER: job.reading().to_bytes(),
    }
    bundle = write_bundle(
        out,
        files,
        graph_parts=graph_parts(graph),
        vector_size=settings.student.vector_size,
        origin={
            "teacher_sha256": job.teacher.fingerprint,
            "settings_sha256": job.settings_sha256,
            "seed": job.seed,
            "student": settings.student.model_dump(),
            "bits": dict(settings.plan),
        },
        budget_bytes=settings.budget_bytes,
    )
    free = settings.budget_bytes - bundle.num_bytes
    return bundle, {"bundle_bytes": bundle.num_bytes, "free_bytes": free}
