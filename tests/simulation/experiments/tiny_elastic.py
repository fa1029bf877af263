"""A plan of two tiny sizes, and a made-up catalogue and teacher that it learns from."""

import json
from pathlib import Path
from typing import Any

from tests.integration.test_quickstart import write_inputs
from tests.models.conftest import TINY

STUDENT = TINY["student"]
SMALL = STUDENT | {
    "embedding_size": 8,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_heads": 1,
}


def plan_tree(preset: Path) -> dict[str, Any]:
    """Two sizes that learn for a few steps."""
    return {
        "preset": str(preset),
        "overrides": ["compression.quantization.polish.steps=2"],
        "start_texts": 60,
        "training": {
            "between": 0,
            "imitation": 0.5,
            "steps": 12,
            "batch_size": 8,
            "learning_rate": 1e-3,
            "word_rate_share": 1.0,
            "warmup_share": 0.25,
            "weight_decay": 0.01,
            "checkpoint_every": 5,
            "device": "cpu",
        },
        "sizes": [
            {"name": "small", "budget_bytes": 10_200, "student": SMALL},
            {"name": "large", "budget_bytes": 60_000, "student": STUDENT},
        ],
    }


def write_plan(folder: Path) -> Path:
    """Write a made-up catalogue, a teacher, a preset for them and a plan on top."""
    preset = write_inputs(folder)
    tree = plan_tree(preset)
    sizes = tree.pop("sizes")
    training = tree.pop("training")
    lines = [_line(item) for item in tree.items()]
    lines += ["[training]", *(_line(item) for item in training.items())]
    for size in sizes:
        student = size["student"]
        lines += ["[[sizes]]", *(_line(item) for item in size.items() if item[0] != "student")]
        lines += ["[sizes.student]", *(_line(item) for item in student.items())]
    path = folder / "plan.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def _line(item: tuple[str, Any]) -> str:
    return f"{item[0]} = {json.dumps(item[1])}"
