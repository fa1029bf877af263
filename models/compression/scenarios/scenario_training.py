"""Scenarios: what several tasks add to one frozen encoder, and how they learn it.

```
Student, frozen     layer -> layer -> ... -> mean over places -> pooled (B, H)
"stack"               x + adapter(x) after each layer                 -> head -> answer (B, n)
"pooled"              nothing inside;    pooled + adapter(pooled)     -> head -> answer (B, n)
```

A scenario is its adapters and its head, nothing else; the encoder is the same for all, bit by bit.
Recommendation and intent recognition, for instance: one encoder of 1.9 MB on the phone, and some KB
for each of them (`models.scenarios_serving` runs both).

*Inside or after?* Adapters inside see the words in their places and can change what the encoder
reads out of them, but each scenario must run the encoder for itself. One adapter after the pooling
only bends what was read, but then the text is encoded once for all scenarios.

The frozen encoder with an adapter per task is adapter-ALBERT's [1], the bottleneck and its place
after the layer are Houlsby's [2]; the choice of the two places is ours.

[1] S. Kwon et al., "Exploring Parameter-Efficient Fine-Tuning for Improving Communication / On-Chip
    Memory Efficiency: adapter-ALBERT", arXiv 2303.16100.
[2] N. Houlsby et al., "Parameter-Efficient Transfer Learning for NLP", ICML 2019, arXiv 1902.00751.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, Field
from torch import Tensor, nn
from torch.nn import functional as F

from models.compression.pretraining.batches import pad
from models.compression.pretraining.descent import adamw, adamw_groups, set_rates
from models.compression.pretraining.general_distillation import GRADIENT_LIMIT, rate_factor
from models.compression.pretraining.shuffling import epoch_batches
from models.compression.student import INITIAL_SPREAD, Adapter, Student
from models.errors import DataError, SettingsError
from models.progress import Progress, silent
from models.scenarios_serving import POOLED, STACK, ScenarioWeights
from models.seeds import integer_seed

Objective = Callable[[Tensor, np.ndarray], Tensor]
"""Maps the scenario's answers (B, n) and the rows of their texts (B,) to the loss, one number."""

JUDGING_BATCH = 128

CENTRED_ON = 2_000
"""Texts, spread over all, whose states say where the centre is."""

SMALLEST_SPREAD = 1e-6


class ScenarioSettings(BaseModel, extra="forbid", frozen=True):
    """Where a scenario's adapters are, and how they learn."""

    place: Literal["stack", "pooled"] = Field(
        description="stack: an adapter after each layer; pooled: one after the encoder"
    )
    adapter_size: int = Field(
        description="A, width of the bottleneck; 0, for pooled: a head alone", ge=0, le=256
    )
    dropout: float = Field(
        description="share of the numbers that the head does not see in a step", ge=0, lt=1
    )
    epochs: int = Field(description="rounds over all texts", ge=1)
    batch_size: int = Field(description="texts per step", ge=1, le=4096)
    learning_rate: float = Field(description="highest rate of AdamW", gt=0, le=1)
    warmup_share: float = Field(
        description="share of the steps in which the rate rises; it then falls to 0", ge=0, lt=1
    )
    weight_decay: float = Field(description="of matrices, not of biases", ge=0)


class Scenario(nn.Module):
    """Adapters and a head over somebody else's encoder."""

    centre: Tensor  # (H,)
    spread: Tensor  # ()

    def __init__(
        self, settings: ScenarioSettings, width: int, depth: int, answers: int | None
    ) -> None:
        """Make one that adds nothing yet: an adapter's way up starts at 0.

        Args:
            settings: place and size of the adapters.
            width: H of the encoder.
            depth: layers that a text goes through.
            answers: n; None: no head, the answer is the encoder's own vector.
        """
        super().__init__()
        places = depth if settings.place == STACK else 1
        self.place = settings.place
        self.dropout = settings.dropout
        self.adapters = nn.ModuleList(
            Adapter(width, settings.adapter_size)
            for _ in range(places if settings.adapter_size else 0)
        )
        self.head = nn.Linear(width, answers) if answers else None
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=INITIAL_SPREAD)
                nn.init.zeros_(module.bias)
        for adapter in self.adapters:
            assert isinstance(adapter, Adapter)
            nn.init.zeros_(adapter.up.weight)
        self.register_buffer("centre", torch.zeros(width))
        self.register_buffer("spread", torch.ones(()))

    def centre_on(self, pooled: Tensor) -> None:
        """Remember the mean and spread of the encoder's own states (n, H), for the head.

        All texts' states point much the same way. With that taken out the head learns several times
        as fast, and costs H numbers more.
        """
        self.centre = pooled.mean(dim=0)
        self.spread = (pooled - self.centre).square().mean().sqrt().clamp(min=SMALLEST_SPREAD)

    def forward(self, student: Student, ids: Tensor, mask: Tensor) -> Tensor:
        """Answer padded texts: (B, T) int64 twice to (B, n), or (B, V) of length 1."""
        inside = self.place == STACK
        encoder = with_adapters(student, self.adapters) if inside else student
        return self.read(encoder.pool(ids, mask), encoder)

    def read(self, pooled: Tensor, student: Student) -> Tensor:
        """Answer pooled states (B, H)."""
        if self.head is None:
            return F.normalize(student.projector(pooled), dim=1)
        apart = (pooled - self.centre) / self.spread
        apart = F.dropout(apart, self.dropout, self.training)
        if self.place == POOLED and len(self.adapters):
            apart = self.adapters[0](apart)
        answers: Tensor = self.head(apart)
        return answers

    def weights(self, encoder_sha256: str, labels: Sequence[str] = ()) -> ScenarioWeights:
        """Return what the phone gets.

        Args:
            encoder_sha256: of the graph that it will run on.
            labels: names of the answers, or none.
        """
        spread = float(self.spread)
        inside = spread if self.place == POOLED else 1.0  # what an adapter works in units of
        down, down_bias, up, up_bias = self._stacks()
        head = self.head
        return ScenarioWeights(
            place=self.place,
            down=np.asarray(down / inside, np.float32),
            down_bias=down_bias,
            up=up * np.float32(inside),
            up_bias=up_bias * np.float32(inside),
            head=None if head is None else (head.weight.detach() / spread).numpy(),
            head_bias=None if head is None else head.bias.detach().numpy().copy(),
            centre=None if head is None else self.centre.numpy().copy(),
            labels=tuple(labels),
            encoder=encoder_sha256,
        )

    def _stacks(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return the adapters' weights, those of all places stacked."""
        adapters = [adapter for adapter in self.adapters if isinstance(adapter, Adapter)]
        if not adapters:
            H = len(self.centre)
            empty = np.zeros((1, H, 0), np.float32)
            return empty, empty[:, 0], empty.transpose(0, 2, 1), np.zeros((1, H), np.float32)

        def stacked(values: list[Tensor]) -> np.ndarray:
            return torch.stack([value.detach() for value in values]).numpy()

        return (
            stacked([adapter.down.weight.T for adapter in adapters]),
            stacked([adapter.down.bias for adapter in adapters]),
            stacked([adapter.up.weight.T for adapter in adapters]),
            stacked([adapter.up.bias for adapter in adapters]),
        )


def build_scenario(
    student: Student, settings: ScenarioSettings, answers: int | None, seed: int
) -> Scenario:
    """Make a fresh scenario for an encoder; torch's own random state is left as it was.

    Args:
        student: the encoder.
        settings: place and size of the adapters.
        answers: n; None: the answer is the encoder's own vector, moved by the adapters.
        seed: of the weights.

    Raises:
        SettingsError: if the place needs what is not there.
    """
    if settings.place == STACK and not (student.settings.depth and settings.adapter_size):
        raise SettingsError(
            f"place is 'stack' with {student.settings.depth} layers and adapter_size "
            f"{settings.adapter_size}, both must be above 0: set it to 'pooled'"
        )
    if settings.place == POOLED and answers is None:
        raise SettingsError(
            "place is 'pooled' without a head: the projector is inside the encoder's graph, give "
            "the number of answers or set place to 'stack'"
        )
    shape = student.settings
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(integer_seed(seed, "scenario-weights"))
        return Scenario(settings, shape.hidden_size, shape.depth, answers).eval()


def train_scenario(
    student: Student,
    scenario: Scenario,
    texts_ids: Sequence[Sequence[int]],
    objective: Objective,
    settings: ScenarioSettings,
    seed: int,
    progress: Progress = silent,
) -> list[float]:
    """Train a scenario in place; the encoder is not touched.

    Args:
        student: the frozen encoder.
        scenario: what learns, from `build_scenario`.
        texts_ids: per text its pieces, framed and cut.
        objective: what is asked of the answers; see `classification` and `likeness`, or give any.
        settings: how.
        seed: of the order of the texts.
        progress: told about every step.

    Returns:
        the loss of every step.

    Raises:
        DataError: if there are no texts, or the loss is no longer a finite number.
    """
    if not texts_ids:
        raise DataError("the scenario got no texts to learn from: give at least one")
    lengths = np.asarray([len(ids) for ids in texts_ids])
    batches = [
        batch
        for epoch in range(settings.epochs)
        for batch in epoch_batches(lengths, settings.batch_size, seed, "scenario-batches", epoch)
    ]
    optimizer = adamw(adamw_groups(scenario, settings.learning_rate, settings.weight_decay))
    losses: list[float] = []
    with _frozen(student), torch.random.fork_rng(devices=[]):
        torch.manual_seed(integer_seed(seed, "scenario-dropout"))
        answers = _answering(student, scenario.train(), texts_ids)
        for step, rows in enumerate(batches):
            set_rates(optimizer, rate_factor(step, len(batches), settings.warmup_share))
            loss = objective(answers(rows), rows)
            losses.append(loss.item())
            if not np.isfinite(losses[-1]):
                raise DataError(
                    f"the scenario went astray at step {step + 1} (loss {losses[-1]}): take a "
                    f"lower learning_rate than {settings.learning_rate}"
                )
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(scenario.parameters(), GRADIENT_LIMIT)
            optimizer.step()
            progress("scenario training", step + 1, len(batches))
    scenario.eval()
    return losses


def answer_ids(
    student: Student, scenario: Scenario, texts_ids: Sequence[Sequence[int]]
) -> np.ndarray:
    """Answer many texts with torch, for judging.

    Returns:
        (len(texts_ids), n) float32.
    """
    order = np.argsort([len(ids) for ids in texts_ids], kind="stable")
    batches = [
        order[start : start + JUDGING_BATCH] for start in range(0, len(order), JUDGING_BATCH)
    ]
    with torch.inference_mode():
        found = [scenario(student, *pad([texts_ids[row] for row in rows])) for rows in batches]
    answers: np.ndarray = torch.cat(found).numpy()[np.argsort(order)]
    return answers


def classification(
    labels: np.ndarray,
    teacher_logits: np.ndarray | None,
    teacher_share: float,
    temperature: float,
) -> Objective:
    """Return cross-entropy with the labels, mixed with distillation from a teacher's logits.

        (1 - share) * CE(z, label) + share * t^2 * KL(softmax(teacher / t) || softmax(z / t))

    Args:
        labels: (n,) int64, of all texts.
        teacher_logits: (n, classes) float32, or None: share is taken as 0.
        teacher_share: 0 to 1.
        temperature: t.
    """
    known = torch.from_numpy(np.asarray(labels, np.int64))
    said = None if teacher_logits is None else torch.from_numpy(teacher_logits)

    def loss(answers: Tensor, rows: np.ndarray) -> Tensor:
        right = F.cross_entropy(answers, known[rows])
        if said is None or teacher_share == 0:
            return right
        theirs = F.log_softmax(said[rows] / temperature, dim=1)
        ours = F.log_softmax(answers / temperature, dim=1)
        alike = F.kl_div(ours, theirs, reduction="batchmean", log_target=True)
        return (1 - teacher_share) * right + teacher_share * temperature**2 * alike

    return loss


def likeness(targets: np.ndarray, temperature: float) -> Objective:
    """Return what asks each answer to be nearer to its own target than to the others'.

        CE over the batch of cos(answer_i, target_j) / t, right at j = i

    For recommendation: the targets are the items' vectors of a trained recommender, and the answers
    to the items' texts take their places, also for items that nobody has used yet.

    Args:
        targets: (n, answers) float32, no row zero; equal rows count as one.
        temperature: t.
    """
    wanted = F.normalize(torch.from_numpy(np.asarray(targets, np.float32)), dim=1)

    def loss(answers: Tensor, rows: np.ndarray) -> Tensor:
        places, index = torch.unique(wanted[rows], dim=0, return_inverse=True)
        return F.cross_entropy(F.normalize(answers, dim=1) @ places.T / temperature, index)

    return loss


def with_adapters(student: Student, adapters: nn.ModuleList) -> Student:
    """Return the same student, weights shared, with an adapter more at each place."""
    own = student.adapters
    view = copy.copy(student)
    chained = nn.ModuleList(
        nn.Sequential(own[place], adapter) if len(own) else adapter
        for place, adapter in enumerate(adapters)
    )
    view._modules = {**student._modules, "adapters": chained}
    return view


def _answering(
    student: Student, scenario: Scenario, texts_ids: Sequence[Sequence[int]]
) -> Callable[[np.ndarray], Tensor]:
    """Return how rows are answered; what never changes is worked out once."""
    if scenario.place == POOLED:
        pooled = _pooled(student, texts_ids)
        scenario.centre_on(pooled)
        return lambda rows: scenario.read(pooled[rows], student)
    some = np.linspace(0, len(texts_ids) - 1, min(CENTRED_ON, len(texts_ids))).astype(np.int64)
    scenario.centre_on(_pooled(student, [texts_ids[row] for row in some]))
    return lambda rows: scenario(student, *pad([texts_ids[row] for row in rows]))


def _pooled(student: Student, texts_ids: Sequence[Sequence[int]]) -> Tensor:
    """Return the encoder's own pooled states, (len(texts_ids), H)."""
    order = np.argsort([len(ids) for ids in texts_ids], kind="stable")
    pooled = torch.zeros(len(texts_ids), student.settings.hidden_size)
    with torch.no_grad():
        for start in range(0, len(order), JUDGING_BATCH):
            rows = order[start : start + JUDGING_BATCH]
            pooled[rows] = student.pool(*pad([texts_ids[row] for row in rows]))
    return pooled


@contextmanager
def _frozen(student: Student) -> Iterator[None]:
    """Let no gradient be worked out for the encoder's weights."""
    before = [parameter.requires_grad for parameter in student.parameters()]
    student.requires_grad_(False)
    try:
        yield
    finally:
        for parameter, needed in zip(student.parameters(), before, strict=True):
            parameter.requires_grad_(needed)
