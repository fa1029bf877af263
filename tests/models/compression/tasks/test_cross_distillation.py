import pytest
import torch

from models.compression.tasks import cross_distillation, live_teacher
from models.compression.tasks.augmentation import AugmentationSettings, augment
from models.compression.tasks.cross_distillation import cross_distil
from models.compression.tasks.task import Task
from models.compression.tasks.task_head import TaskStudent, predict_logits
from models.compression.tasks.task_teacher import fine_tune
from models.errors import DataError
from models.progress import silent
from models.wordpiece import split_texts
from tests.models.compression.tiny_task import (
    CROSS,
    FINE_TUNING,
    examples,
    tiny_student,
    tiny_task,
    tiny_tokenizer,
)

TASK = tiny_task()
TOKENIZER = tiny_tokenizer()
EXTRA = augment(
    TASK.train.texts,
    AugmentationSettings(copies=1, span_share=0.5, shortest_span=0.5, word_dropout=0.1),
    seed=0,
)
FOUR = {
    "plain": {"integration": False, "mutual": False},
    "head": {"integration": True, "mutual": False},
    "mutual": {"integration": False, "mutual": True},
    "both": {"integration": True, "mutual": True},
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cross-cache")


@pytest.fixture(scope="module")
def teacher(teacher_folder, cache):
    return fine_tune(teacher_folder, TASK, FINE_TUNING, cache, seed=1, threads=1)


@pytest.fixture
def teach(teacher, cache):
    def run(seed=0, student=None, extra=EXTRA, task=TASK, progress=silent, **changes):
        settings = CROSS.model_validate({**CROSS.model_dump(), **changes})
        return cross_distil(
            student or tiny_student(),
            TOKENIZER,
            teacher,
            task,
            extra,
            settings,
            cache,
            seed,
            1,
            progress,
        )

    return run


def weights_of(module):
    return torch.cat([tensor.ravel() for tensor in module.state_dict().values()])


@pytest.mark.parametrize("name", FOUR)
def test_four_settings_of_one_function_learn_the_task(teach, name):
    taught = teach(
        **FOUR[name],
        align_steps=10,
        joint_steps=40,
        polish_steps=10,
        evaluate_every=20,
        learning_rate=1e-2,
    )
    assert taught.best.student_score > 0.5  # chance is a third
    ids = split_texts(TOKENIZER, TASK.validation.texts, 16)
    logits = predict_logits(taught.student, taught.readout, ids)
    assert TASK.grade(logits) == taught.best.student_score
    assert taught.readout.weight.shape == (3, 32)


@pytest.mark.parametrize(
    "shape",
    [
        {"layers": 0, "embedding_size": 32},
        {"layers": 2, "passes": 1, "embedding_size": 32},
        {"adapter_size": 4},
    ],
    ids=["static", "bert-type", "mini-albert"],
)
def test_students_of_all_kinds(teach, shape):
    taught = teach(student=tiny_student(**shape))
    assert taught.student.settings.layers == shape.get("layers", 1)
    assert not torch.equal(weights_of(taught.student), weights_of(tiny_student(**shape)))


def test_stages_come_in_their_order_and_each_is_looked_at(teach):
    calls = []
    taught = teach(progress=lambda *call: calls.append(call))
    assert [(row.stage, row.step) for row in taught.history] == [
        ("align", 4), ("joint", 8), ("joint", 12), ("polish", 16),
    ]  # fmt: skip
    learns = [row.teacher_learns for row in taught.history]
    assert (learns[0], learns[3]) == (False, False)
    assert taught.best in taught.history[1:]
    assert ("cross-distillation, polish", 16, 16) in calls


@pytest.mark.parametrize("head", ["frozen", "tied", "free"])
def test_alignment_alone_leaves_the_head(teach, teacher, monkeypatch, head):
    """A head that may learn later is the teacher's own until the joint stage begins."""
    seen = {}
    real = cross_distillation._Run._enter

    def enter(run, stage):
        seen[stage] = [weights_of(run.learner.head), weights_of(run.learner.to_teacher)]
        real(run, stage)

    monkeypatch.setattr(cross_distillation._Run, "_enter", enter)
    teach(head=head, align_steps=20, evaluate_every=20)
    own = weights_of(teacher.head)
    assert torch.equal(seen["align"][0], own) and torch.equal(seen["joint"][0], own)
    assert torch.equal(seen["polish"][0], own) == (head == "frozen")
    assert not torch.equal(seen["align"][1], seen["joint"][1])  # P does learn


def test_alignment_alone_brings_features_nearer(teach):
    taught = teach(align_steps=60, joint_steps=1, polish_steps=0, evaluate_every=20, label_weight=0)
    errors = [row.feature_error for row in taught.history if row.stage == "align"]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1


@pytest.mark.parametrize("name", ["head", "both"])
def test_same_seed_same_student(teach, name):
    first, again, other = (weights_of(teach(seed, **FOUR[name]).student) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_student_and_teacher_given_stay_as_they_are(teach, teacher):
    student = tiny_student()
    before = [weights_of(part) for part in (student, teacher.model, teacher.head)]
    for head in ("tied", "free"):
        teach(student=student, head=head)
    after = [weights_of(part) for part in (student, teacher.model, teacher.head)]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_without_mutual_the_teacher_never_runs(teach, monkeypatch):
    teach(mutual=False)  # fills the cache
    for name in ("pool_batch", "pool_all"):
        monkeypatch.setattr(live_teacher, name, None)  # running it would fail
    teach(mutual=False, head="tied")
    with pytest.raises(TypeError):
        teach(mutual=True)


def test_only_a_frozen_head_stays_the_teachers(teach, teacher, monkeypatch):
    made = []

    class Watched(TaskStudent):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            made.append(self)

    monkeypatch.setattr(cross_distillation, "TaskStudent", Watched)
    for changes in ({"head": "frozen"}, {"head": "free"}, {"head": "tied"}, {"integration": False}):
        teach(**changes)
    kept = [torch.equal(learner.head.weight, teacher.head.weight) for learner in made]
    assert kept == [True, False, False, False]


def test_the_teacher_senses_the_student_only_if_told_to(teach, monkeypatch):
    """With d = 0 the teacher learns from labels alone; with d > 0 its steps are others."""
    seen = []
    real = live_teacher.LiveTeacher.sleep

    def sleep(self):
        real(self)
        seen.append(weights_of(self._encoder))

    monkeypatch.setattr(live_teacher.LiveTeacher, "sleep", sleep)
    for weight in (0.0, 0.0, 5.0):
        teach(feedback_weight=weight, guard_drop=1.0)
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])


def test_the_teacher_takes_every_kth_step(teach, monkeypatch):
    steps = []
    real = live_teacher.LiveTeacher.descend
    monkeypatch.setattr(
        live_teacher.LiveTeacher,
        "descend",
        lambda self, *step: (steps.append(1), real(self, *step)),
    )
    teach(mutual_every=3, guard_drop=1.0)
    assert len(steps) == 3  # steps 0, 3 and 6 of 8


def test_guard_stops_a_teacher_that_goes_astray(teach, teacher):
    taught = teach(
        learning_rate=0.9,
        teacher_learning_rate=0.5,
        feedback_weight=0.0,
        joint_steps=8,
        evaluate_every=2,
        integration=False,
    )
    joint = [row for row in taught.history if row.stage == "joint"]
    assert not joint[0].teacher_learns
    assert all(row.teacher_score == teacher.validation_score for row in joint)


def test_texts_without_label_are_not_asked_for_one(teach, monkeypatch):
    seen = []
    real = cross_distillation.student_loss

    def loss(*tensors, **measures):
        seen.append((tensors[4], measures["expected_labels"]))
        return real(*tensors, **measures)

    monkeypatch.setattr(cross_distillation, "student_loss", loss)
    teach(mutual=False)
    labels = torch.cat([y for y, _ in seen])
    assert {expected for _, expected in seen} == {4.0}  # half of a batch of 8
    assert 0 < (labels == -1).sum() < len(labels)
    seen.clear()
    teach(mutual=False, extra=[])
    assert all((y >= 0).all() and expected == 8.0 for y, expected in seen)


def test_bad_input_is_named(teach):
    with pytest.raises(DataError, match=r"extra texts: text 1 of 2 is empty"):
        teach(extra=["fine", " "])
    four = examples(30)
    four.labels[::7] = 3
    with pytest.raises(DataError, match="has 4 classes and its teacher 3"):
        teach(task=Task("other", four, four, 4, "accuracy"))


def test_going_astray_is_named(teach):
    with pytest.raises(DataError, match=r"'tiny' went astray at step \d+ of 16.*learning_rate"):
        teach(weight_decay=1e30, mutual=False)
