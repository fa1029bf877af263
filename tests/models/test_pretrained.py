"""The committed encoder: within its bytes, without torch, and with some sense."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from models.bundle import ENCODER_BUDGET_BYTES, EncoderBundle
from models.compression.export.revival import student_from_bundle
from models.compression.job import sha256_of_text
from models.encoder import Encoder
from simulation.settings import load_settings

FOLDER = Path(__file__).resolve().parents[2] / "models" / "pretrained" / "ei-bert-en"
PAIRS = [
    ("how do i transfer money to my savings account", "bank transfer to another account"),
    ("a robbery thriller", "quiet heist film"),
    ("the weather tomorrow", "will it rain in the morning"),
]


def test_it_is_within_its_budget():
    assert EncoderBundle.open(FOLDER).num_bytes <= ENCODER_BUDGET_BYTES


def test_it_loads_and_encodes_without_torch():
    code = (
        "import sys; from pathlib import Path; from models.encoder import Encoder; "
        f"print(Encoder.load(Path({str(FOLDER)!r})).encode(['a film']).shape); "
        "assert not {'torch', 'transformers', 'onnx'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(1, 256)"


def test_texts_that_mean_the_same_are_nearest():
    encoder = Encoder.load(FOLDER)
    first, second = (encoder.encode(side) for side in zip(*PAIRS, strict=True))
    assert (first @ second.T).argmax(axis=1).tolist() == [0, 1, 2]


def test_it_can_be_taken_up_again_in_torch():
    student = student_from_bundle(FOLDER)
    assert student.settings.vector_size == Encoder.load(FOLDER).vector_size
    assert all(np.isfinite(p.detach().numpy()).all() for p in student.parameters())


def test_the_preset_that_the_card_names_is_what_made_it():
    made_by = load_settings("standard")
    origin = EncoderBundle.open(FOLDER).manifest["origin"]
    assert origin["settings_sha256"] == sha256_of_text(made_by.compression.model_dump_json())
    assert origin["seed"] == made_by.seed
    assert origin["bits"] == made_by.compression.plan


def test_its_report_is_its_own():
    report = json.loads(FOLDER.with_name(f"{FOLDER.name}-report.json").read_text())
    bundle = EncoderBundle.open(FOLDER)
    assert report["bundle_bytes"] == bundle.num_bytes
    table = {row["part"]: row["num_bytes"] for row in report["byte_table"]}
    assert table == {row.part: row.num_bytes for row in bundle.byte_table()}
