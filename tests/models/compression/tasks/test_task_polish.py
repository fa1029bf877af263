import numpy as np
import torch

from models.classifier import softmax
from models.compression.export.encoder_graph import Readout
from models.compression.quantization.few_bits import uniform
from models.compression.quantization.polish import PolishSettings, fake_quantized
from models.compression.tasks.cross_distillation import HistoryRow, Taught
from models.compression.tasks.task_head import predict_logits
from models.compression.tasks.task_polish import polish_task
from models.seeds import generator
from models.wordpiece import split_texts
from tests.models.compression.tiny_task import examples, tiny_student, tiny_tokenizer

ROW = HistoryRow("polish", 1, 0.0, 0.0, 0.5, 0.5, False)
IDS = split_texts(tiny_tokenizer(), examples(60).texts, 16)


def taught() -> Taught:
    student = tiny_student()
    weight = generator(0, "test").normal(size=(3, student.settings.hidden_size))
    readout = Readout("logits", weight.astype(np.float32), None, unit_length=False)
    return Taught(student, readout, (ROW,), ROW)


def rounded_logits(made: Taught) -> np.ndarray:
    with fake_quantized(made.student, uniform(made.student, 4)):
        return predict_logits(made.student, made.readout, IDS)


def test_the_rounded_student_says_again_what_it_said_in_fp32():
    before = taught()
    wanted = predict_logits(before.student, before.readout, IDS)
    plan = uniform(before.student, 4)
    settings = PolishSettings(steps=25, batch_size=16, learning_rate=5e-4)
    after = polish_task(before, plan, IDS, 1.0, settings, seed=0, threads=1)
    errors = [
        np.abs(softmax(rounded_logits(made)) - softmax(wanted)).mean() for made in (before, after)
    ]
    assert errors[1] < 0.8 * errors[0]
    assert np.array_equal(predict_logits(before.student, before.readout, IDS), wanted)


def test_the_same_seed_gives_the_same_weights():
    settings = PolishSettings(steps=2, batch_size=8, learning_rate=1e-3)
    made = [
        polish_task(taught(), uniform(tiny_student(), 4), IDS, 2.0, settings, seed, threads=1)
        for seed in (1, 1, 2)
    ]
    words = [torch.as_tensor(one.student.words.weight) for one in made]
    assert torch.equal(words[0], words[1])
    assert not torch.equal(words[0], words[2])
    assert np.array_equal(made[0].readout.weight, made[1].readout.weight)
