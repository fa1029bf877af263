"""The task teacher: the text teacher, fine-tuned on one task, and its answers kept on disk.

```
text --tokenizer--> pieces --encoder--> states --mean over pieces--> f_T (H_T) --head--> z_T (C)
                             |________________________________________________|
                                 all of it learns: cross-entropy, small rate
```

A frozen teacher with a linear head is a weak one; this is the model whose head is later put into
the student (`cross_distillation`). The head is one linear map on the mean over the pieces: the same
pooling as the student's, and nothing between that would have to be shipped (BERT's own pooler would
cost 0.8 MB). That there is a fine-tuned teacher with a task head is EI-BERT's; pooling, rates and
the choice of the best epoch on validation texts are ours.

Everything is kept under the hash of what it depends on. A run that was stopped, kill -9 as well,
goes on after its last whole epoch and ends with the same weights:

    <cache>/task-teachers/<address>/teacher.safetensors   the best epoch, and its scores
    <cache>/task-teachers/<address>/checkpoints/          while it is not done
    <cache>/task-features/<address>/                      f_T of texts, memory-mapped
"""

import hashlib
import json
import math
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, Field
from safetensors.torch import load_file, save
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from models.compression.pretraining.checkpoints import load_checkpoint, save_checkpoint
from models.compression.pretraining.descent import (
    adamw,
    adamw_groups,
    descend,
    gradients_of,
    set_rates,
)
from models.compression.pretraining.general_distillation import rate_factor
from models.compression.pretraining.shuffling import epoch_batches
from models.compression.student import INITIAL_SPREAD
from models.compression.tasks.task import Examples, Task
from models.compression.tasks.teacher_checkpoints import note_of, whole
from models.compression.tasks.teacher_encoder import (
    READING_BATCH,
    freeze_lowest,
    pool_all,
    pool_batch,
)
from models.compression.teacher.row_store import fill
from models.compression.teacher.text_teacher import TeacherSettings, TextTeacher, load_text_teacher
from models.errors import DataError
from models.files import write_json, write_whole
from models.locks import alone_in
from models.progress import Progress, silent
from models.seeds import integer_seed
from models.threads import fixed_threads
from models.wordpiece import cut

CHUNK_TEXTS = 2048
"""Texts whose features are written at once: what a stop may lose."""

_WEIGHTS, _EPOCHS, _CHECKPOINTS, _BEST = (
    "teacher.safetensors",
    "epochs.json",
    "checkpoints",
    "best.safetensors",
)


class TaskTeacherSettings(BaseModel, extra="forbid", frozen=True):
    """How a text teacher is fine-tuned."""

    max_tokens: int = Field(description="longest text in the teacher's pieces", ge=8, le=512)
    epochs: int = Field(description="times that each text is learnt", ge=1, le=100)
    batch_size: int = Field(description="texts per step", ge=1, le=1024)
    learning_rate: float = Field(description="highest rate of the encoder", gt=0, le=1)
    head_learning_rate: float = Field(description="highest rate of the head", gt=0, le=1)
    warmup_share: float = Field(
        description="share of the steps in which the rate rises; it then falls to 0", ge=0, lt=1
    )
    weight_decay: float = Field(description="of matrices, not of words, norms and biases", ge=0)
    dropout: float = Field(description="inside the encoder and before the head", ge=0, lt=1)
    frozen_layers: int = Field(
        description="lowest layers that do not learn; the word table then does not either", ge=0
    )


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch of fine-tuning came to.

    Attributes:
        loss: mean cross-entropy over its steps, nats.
        score: the task's score on the validation texts, 0 to 1.
    """

    loss: float
    score: float


@dataclass(frozen=True, slots=True)
class TaskTeacher:
    """A fine-tuned encoder and its task head.

    Attributes:
        model: the encoder, in evaluation mode.
        head: H_T -> C, with bias.
        tokenizer: the encoder's.
        max_tokens: longest text in the teacher's pieces.
        epochs: how the fine-tuning went; the best of them is this teacher.
        fingerprint: SHA-256 over weights and tokenizer.
    """

    model: PreTrainedModel
    head: nn.Linear
    tokenizer: PreTrainedTokenizerFast
    max_tokens: int
    epochs: tuple[Epoch, ...]
    fingerprint: str

    @property
    def width(self) -> int:
        """H_T, numbers of a feature vector."""
        return int(self.head.in_features)

    @property
    def num_labels(self) -> int:
        """C, classes."""
        return int(self.head.out_features)

    @property
    def validation_score(self) -> float:
        """The task's score on the validation texts, 0 to 1."""
        return max(epoch.score for epoch in self.epochs)

    def split(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the pieces of each text, framed and cut to `max_tokens`."""
        read = [cut(text, self.max_tokens) for text in texts]
        split = self.tokenizer(read, truncation=True, max_length=self.max_tokens)
        return list(split["input_ids"])

    def features(
        self, texts: Sequence[str], cache: Path, progress: Progress = silent
    ) -> np.ndarray:
        """Return f_T of these texts; what the cache lacks is computed first, in chunks.

        Args:
            texts: n texts, at least one.
            cache: folder for features; made if it is not there.
            progress: told about each batch.

        Returns:
            (n, H_T) float32, memory-mapped, for reading.

        Raises:
            DataError: if there are no texts, or the cache cannot be written.
        """
        if not texts:
            raise DataError("the task teacher got no texts to read: give at least one")

        def compute(rows: range) -> tuple[np.ndarray, dict[str, np.ndarray]]:
            ids = self.split(texts[rows.start : rows.stop])
            vectors = pool_all(self.model, ids, self.pad_id)
            progress("task teacher", rows.stop, len(texts))
            return vectors, {}

        address = _hash(self.fingerprint, str(self.max_tokens), str(CHUNK_TEXTS), *texts)
        shape = (len(texts), self.width)
        return fill(cache / "task-features" / address, shape, CHUNK_TEXTS, compute).rows

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Return z_T of some features: (n, H_T) float32 -> (n, C) float32."""
        with torch.inference_mode():
            logits: np.ndarray = self.head(torch.from_numpy(np.array(features))).numpy()
        return logits

    @property
    def pad_id(self) -> int:
        """The tokenizer's id of padding."""
        return int(self.tokenizer.pad_token_id)


def fine_tune(
    source: str | Path,
    task: Task,
    settings: TaskTeacherSettings,
    cache: Path,
    seed: int,
    threads: int,
    progress: Progress = silent,
) -> TaskTeacher:
    """Return the teacher of a task, from the cache if it was made before.

    Formal guarantees:
        - same source, task, settings, seed and threads: same weights, also when the run was
          killed and went on;
        - the teacher returned is the epoch that scores best on the validation texts, the earliest
          of equals.

    Args:
        source: a Hugging Face folder or id, see `load_text_teacher`.
        task: what it learns.
        settings: how.
        cache: folder for teachers; made if it is not there.
        seed: of the head, the order of the texts and dropout.
        threads: of torch.
        progress: told about every step.

    Raises:
        DataError: if the source cannot be loaded, the loss is no longer a finite number, or a file
            in the cache is damaged.
        SettingsError: if more layers are frozen than there are.
    """
    reading = TeacherSettings(max_tokens=settings.max_tokens, batch_size=READING_BATCH)
    with fixed_threads(threads):
        teacher = _begin(load_text_teacher(source, reading), task, settings, seed)
        folder = cache / "task-teachers" / _address(teacher, task, settings, seed, threads)
        with alone_in(folder):
            if not (folder / _WEIGHTS).is_file():
                _train(teacher, task, settings, seed, folder, progress)
            return _finish(teacher, folder)


def _begin(base: TextTeacher, task: Task, settings: TaskTeacherSettings, seed: int) -> TaskTeacher:
    """Return the teacher before its first step: a fresh head on the pretrained encoder."""
    model = base.model
    with suppress(ValueError):  # a kind of model that was written without it
        model.set_attn_implementation("sdpa")  # faster, and attentions are not looked at here
    if getattr(model, "pooler", None) is not None:
        model.pooler = None  # not used, and random where the folder has none
    for part in model.modules():
        if isinstance(part, nn.Dropout):
            part.p = settings.dropout
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(integer_seed(seed, "task-head"))
        head = nn.Linear(base.width, task.num_labels)
        nn.init.normal_(head.weight, std=INITIAL_SPREAD)
        nn.init.zeros_(head.bias)
    freeze_lowest(model, settings.frozen_layers)
    return TaskTeacher(model, head, base.tokenizer, settings.max_tokens, (), base.fingerprint)


def _train(
    teacher: TaskTeacher,
    task: Task,
    settings: TaskTeacherSettings,
    seed: int,
    folder: Path,
    progress: Progress,
) -> None:
    """Go through the epochs that are missing, and leave the best of all as `_WEIGHTS`."""
    module = _module(teacher)
    rest = adamw_groups(teacher.model, settings.learning_rate, settings.weight_decay)
    head = adamw_groups(teacher.head, settings.head_learning_rate, settings.weight_decay)
    optimizer = adamw([*rest, *head])
    checkpoints = folder / _CHECKPOINTS
    done, losses = load_checkpoint(checkpoints, module, optimizer)
    scores = _scores(checkpoints, done)
    ids = {part: teacher.split(_part(task, part).texts) for part in ("train", "validation")}
    for epoch in range(done, settings.epochs):
        address = (seed, epoch)
        losses.append(
            _one_epoch(teacher, optimizer, task, ids["train"], settings, address, progress)
        )
        features = pool_all(teacher.model, ids["validation"], teacher.pad_id)
        scores.append(task.grade(teacher.logits(features)))
        # The order matters: a stop between two of these lines makes the epoch again, from the
        # checkpoint before it, and writes the same.
        if scores[-1] > max(scores[:-1], default=-1.0):
            _save_weights(checkpoints / _BEST, module)
        write_json(checkpoints / _EPOCHS, scores)
        save_checkpoint(checkpoints, epoch + 1, module, optimizer, losses)
    with whole(checkpoints / _BEST):
        module.load_state_dict(load_file(checkpoints / _BEST))
    rows = [{"loss": loss, "score": score} for loss, score in zip(losses, scores, strict=True)]
    _save_weights(folder / _WEIGHTS, module, {"epochs": json.dumps(rows)})
    shutil.rmtree(checkpoints)


def _one_epoch(
    teacher: TaskTeacher,
    optimizer: torch.optim.AdamW,
    task: Task,
    ids: list[list[int]],
    settings: TaskTeacherSettings,
    address: tuple[int, int],
    progress: Progress,
) -> float:
    """Learn each text once; return the mean loss."""
    seed, epoch = address
    lengths = np.asarray([len(text) for text in ids])
    labels = torch.from_numpy(task.train.labels)
    batches = epoch_batches(lengths, settings.batch_size, seed, "fine-tuning-batches", epoch)
    steps = settings.epochs * len(batches)
    losses = []
    teacher.model.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(integer_seed(seed, "fine-tuning-dropout", epoch))
        for step, rows in enumerate(batches, start=epoch * len(batches)):
            set_rates(optimizer, rate_factor(step, steps, settings.warmup_share))
            features = pool_batch(teacher.model, [ids[row] for row in rows], teacher.pad_id)
            logits = teacher.head(F.dropout(features, settings.dropout))
            loss = F.cross_entropy(logits, labels[rows])
            descend(optimizer, gradients_of(loss, optimizer))
            losses.append(loss.item())
            if not math.isfinite(losses[-1]):
                raise DataError(
                    f"fine-tuning on {task.name!r} went astray at step {step + 1} of {steps} (loss "
                    f"{losses[-1]}): take a lower learning_rate than {settings.learning_rate}"
                )
            progress("fine-tuning", step + 1, steps)
    teacher.model.eval()
    return float(np.mean(losses))


def _finish(teacher: TaskTeacher, folder: Path) -> TaskTeacher:
    """Return the teacher with the weights of its best epoch."""
    module = _module(teacher)
    with whole(folder / _WEIGHTS):
        weights = load_file(folder / _WEIGHTS)
        module.load_state_dict(weights)
        epochs = tuple(Epoch(**row) for row in json.loads(note_of(folder / _WEIGHTS)["epochs"]))
    teacher.model.eval().requires_grad_(False)
    teacher.head.requires_grad_(False)
    digest = hashlib.sha256(teacher.fingerprint.encode())
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].numpy().tobytes())
    return replace(teacher, epochs=epochs, fingerprint=digest.hexdigest())


def _scores(checkpoints: Path, done: int) -> list[float]:
    """Return the validation scores of the epochs that are done."""
    if not done:
        return []
    with whole(checkpoints / _EPOCHS):
        scores = [float(score) for score in json.loads((checkpoints / _EPOCHS).read_text())]
        if len(scores) < done:
            raise ValueError(f"{len(scores)} scores of {done} epochs")
    return scores[:done]


def _save_weights(path: Path, module: nn.Module, note: dict[str, str] | None = None) -> None:
    tensors = {name: value.contiguous().clone() for name, value in module.state_dict().items()}
    with write_whole(path) as file:
        file.write(save(tensors, note))


def _module(teacher: TaskTeacher) -> nn.Module:
    """Return encoder and head as one, over the same tensors."""
    return nn.ModuleDict({"encoder": teacher.model, "head": teacher.head})


def _part(task: Task, name: str) -> Examples:
    return task.train if name == "train" else task.validation


def _address(
    teacher: TaskTeacher, task: Task, settings: TaskTeacherSettings, seed: int, threads: int
) -> str:
    parts = [teacher.fingerprint, settings.model_dump_json(), str(seed), str(threads)]
    parts += [str(task.num_labels), task.score]
    for examples in (task.train, task.validation):
        parts += [str(len(examples.texts)), *examples.texts, *map(str, examples.labels.tolist())]
    return _hash(*parts)


def _hash(*parts: str) -> str:
    """Return 32 hexadecimal digits; each part is framed by its length, so no two lists collide."""
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode(errors="replace")
        digest.update(f"{len(content)}:".encode())
        digest.update(content)
    return digest.hexdigest()[:32]
