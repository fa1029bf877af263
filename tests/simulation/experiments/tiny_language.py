"""A tiny labelled set in CLINC150's form, a tiny general bundle, and settings of seconds."""

import json
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from models.bundle import GRAPH, TOKENIZER, VOCABULARY, write_bundle
from models.compression.export.encoder_graph import export_graph, graph_parts
from models.compression.quantization.few_bits import uniform
from models.seeds import generator
from models.wordpiece import TokenizerSettings, vocabulary_to_bytes
from simulation.experiments.language.settings import DEFAULT_FILE, LanguageSettings
from simulation.experiments.language.workbench import Workbench
from tests.models.compression.tiny_task import CROSS, FINE_TUNING, PIECES, tiny_student
from tests.models.conftest import TINY, WORDS, save_teacher, tiny_teacher_model

TELLING = ("love", "crime", "ship")
OTHERS = [word for word in WORDS if word not in TELLING]
INTENTS = ("give_love", "report_crime", "board_ship")
LEARNING = {"mutual": False, "learning_rate": 1e-2, "joint_steps": 80, "evaluate_every": 20}
READING = TokenizerSettings(True, True, TINY["student"]["max_tokens"])


def tiny_tree(teacher: Path, bundle: Path) -> dict[str, Any]:
    """The product's settings, cut down: one set, one start, few steps."""
    text = (resources.files("simulation.presets") / "language" / DEFAULT_FILE).read_text()
    tree = tomllib.loads(text)
    tree["text_teacher"] = str(teacher)
    tree["task"]["teacher"] = FINE_TUNING.model_dump()
    tree["task"]["cross_distillation"] = CROSS.model_dump() | LEARNING
    tree["task"]["augmentation"]["copies"] = 1
    tree["task"]["polish"] = {"steps": 3, "batch_size": 8, "learning_rate": 1e-3}
    nothing: dict[str, Any] = {"teacher": {}, "cross_distillation": {}, "augmentation": {}}
    tree["sets"] = {"clinc150": {"score": "accuracy", "train_limit": 0, **nothing}}
    start = tree["starts"]["ei-bert"] | {"bundle": str(bundle), "formats": ["fp32", "int8", "int4"]}
    tree["starts"] = {"ei-bert": start, "fresh": start | {"fresh_weights": True}}
    tree["variant_formats"] = ["fp32", "int8"]
    tree["columns"] = {"teacher": "teacher:fp32", "EI-BERT int8": "ei-bert:int8"}
    tree["frontier"] = {}
    tree["ablations"] = [
        {"group": "method", "title": name, "start": "ei-bert", "variant": name, "format": "int8"}
        for name in ("plain", "head")
    ]
    tree["probe"] |= {"neighbours": 3, "teacher_tokens": 16}
    return tree


def tiny_bench(folder: Path, **changes: Any) -> Workbench:
    """A workbench whose everything is in the folder; called again, it finds its files."""
    if not (folder / "bundle").exists():
        save_teacher(tiny_teacher_model(), folder / "teacher")
        write_general_bundle(folder / "bundle")
        write_clinc(folder / "data_full.json")
    tree = tiny_tree(folder / "teacher", folder / "bundle") | changes
    settings = LanguageSettings.model_validate(tree)
    return Workbench(settings, folder / "cache", folder / "data_full.json")


def write_general_bundle(folder: Path) -> None:
    student = tiny_student()
    plan = uniform(student, 8)
    graph = export_graph(student, plan)
    files = {
        GRAPH: graph.SerializeToString(deterministic=True),
        VOCABULARY: vocabulary_to_bytes(PIECES),
        TOKENIZER: READING.to_bytes(),
    }
    write_bundle(
        folder,
        files,
        graph_parts=graph_parts(graph),
        vector_size=student.settings.vector_size,
        origin={"student": student.settings.model_dump(), "bits": dict(plan)},
        budget_bytes=200_000,
    )


def write_clinc(path: Path, test_first: int = 90) -> None:
    """60 texts to learn from, 30 of validation, 30 of test."""
    content: dict[str, list[list[str]]] = {
        part: rows(count, first)
        for part, count, first in (("train", 60, 0), ("val", 30, 60), ("test", 30, test_first))
    }
    content |= {f"oos_{part}": [["what is the time", "oos"]] for part in ("train", "val", "test")}
    path.write_text(json.dumps(content), encoding="utf-8")


def rows(count: int, first: int) -> list[list[str]]:
    """Texts whose intent is told by one word; no two are equal."""
    found = []
    for number in range(first, first + count):
        words = [str(word) for word in generator(0, "tiny-language", number).choice(OTHERS, 5)]
        words.insert(number % 6, TELLING[number % 3])
        found.append([" ".join(words), INTENTS[number % 3]])
    return found
