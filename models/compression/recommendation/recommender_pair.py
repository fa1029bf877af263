"""Student and teacher of a recommendation task, with all that learns on either side.

```
item texts --student--> placed vectors (N, V) --bridge P--> fS (N, W) --recommender--> zS (M, K)
item texts --teacher--> placed vectors (N, W) --adapter---> fT (N, W) --recommender--> zT (M, K)
```

N texts of the catalogue, K of them known to the recommender, M moments at which users chose a next
item. The student's recommender is, as `head` says:

    frozen   the teacher's as it was put in: the student must put items where it expects them
    tied     one recommender in both, trained by both losses while the teacher learns
    free     a copy that the student trains on

The bridge is linear, so it folds into the recommender's text projection (`fold`): the phone's
serving path is as before, and to reuse the teacher's recommender costs no byte. Only the bridge and
its folding are here by our choice; that the teacher's head is put into the student is EI-BERT's
parameter integration (see `recommender_distillation`).

All of it is one module, so that one checkpoint holds it, the best student so far included.
"""

import copy
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from models.compression.pretraining.batches import pad
from models.compression.quantization.few_bits import BitPlan
from models.compression.quantization.polish import fake_quantized
from models.compression.student import Student
from models.compression.tasks.task_head import HeadMode
from models.errors import DataError
from models.histories import Histories
from models.metrics import held_out_ranks, metrics_of_ranks
from models.recommender import (
    HistoryBlock,
    RecommenderSettings,
    Shared,
    initial_parameters,
    item_vectors,
    score,
    share,
    user_states,
)
from models.scoring import score_users
from models.seeds import integer_seed
from models.text_space import TextSpace

JUDGING_USERS = 256
"""Users scored at a time when validation items are ranked."""

_RIDGE = 1e-3
"""Of the mean diagonal, in the fit of the bridge."""

_SHORTEST = 1e-12
"""A vector shorter than this has no direction."""


@dataclass(frozen=True, slots=True)
class RecommendationLessons:
    """What there is to learn: texts, what the teacher says of them, and who chose what.

    Attributes:
        item_ids: per text of the catalogue its pieces, framed and cut, N texts.
        item_vectors: (N, W) float32, the teacher's raw vectors of them.
        known: (K,) int64, rows of the items that the recommender knows, ascending.
        histories: training events; item k there is text `known[k]` here.
        validation: (U,) int64, the item 0..K-1 that judges user u, or -1; it is in no history.
        companion_ids: pieces of C texts beside the catalogue; may be none.
        companion_vectors: (C, W) float32, the teacher's raw vectors of them.

    Raises:
        DataError: if a text has no vector, or nobody has a next item to learn from.
    """

    item_ids: Sequence[Sequence[int]]
    item_vectors: NDArray[np.float32]
    known: NDArray[np.int64]
    histories: Histories
    validation: NDArray[np.int64]
    companion_ids: Sequence[Sequence[int]]
    companion_vectors: NDArray[np.float32]

    def __post_init__(self) -> None:
        texts, vectors = len(self.item_ids), len(self.item_vectors)
        if texts != vectors or len(self.companion_ids) != len(self.companion_vectors):
            raise DataError(
                f"{texts} item texts with {vectors} vectors, {len(self.companion_ids)} companions "
                f"with {len(self.companion_vectors)}: give one vector of the teacher per text"
            )
        if not (self.histories.lengths() >= 2).any():
            raise DataError("no user has 2 training events: there is no next item to learn from")


@dataclass(frozen=True, slots=True)
class TrainedRecommender:
    """A recommender with the personal vectors that a server holds after pooled training.

    Attributes:
        parameters: shared parameters without a leading axis.
        taste: (U, dim) float32.
        settings: its shape.
    """

    parameters: Shared
    taste: NDArray[np.float32]
    settings: RecommenderSettings


def fold(parameters: Shared, bridge: Tensor) -> Shared:
    """Fold the bridge into a recommender, so that it reads the student's own vectors.

    Formal guarantee: `x @ bridge` before is `x` now, and no score changes by more than rounding
    (1e-5 at scores of usual size; the product is made in float64).

    Args:
        parameters: of a recommender that reads vectors of W numbers, without a leading axis.
        bridge: (V, W).
    """
    wide = bridge.double()
    projections = ("text_projection", "private_projection")
    return parameters | {name: (wide @ parameters[name].double()).float() for name in projections}


def absorb(parameters: Shared, text: NDArray[np.float32], wanted: NDArray[np.float32]) -> Shared:
    """Put into the id vectors what the texts' vectors miss.

    An item's vector is its text's part plus its id vector, and the id vectors ship in any case. So
    items that the recommender knows can have exactly the vectors wanted, whatever a small encoder
    makes of their texts; items that it does not know are their text alone. Our choice.

    Args:
        parameters: of K items, without a leading axis.
        text: (K, V) placed vectors of the known items, best as the shipped bundle gives them.
        wanted: (K, dim) what the items' vectors should be.
    """
    read = torch.from_numpy(text) @ parameters["text_projection"]
    return parameters | {"id_residual": torch.from_numpy(wanted) - read}


class Head(nn.Module):
    """A recommender whose parameters learn: a copy of what it is made from."""

    taste: nn.Parameter

    def __init__(self, parameters: Shared, taste: NDArray[np.float32]) -> None:
        super().__init__()
        for name, value in parameters.items():
            self.register_parameter(name, nn.Parameter(value.detach().clone()))
        self.taste = nn.Parameter(torch.from_numpy(taste.copy()))

    def shared(self) -> Shared:
        """Return the shared parameters, without a leading axis."""
        return {name: value for name, value in self.named_parameters() if name != "taste"}

    def scores(
        self, items: Tensor, history: HistoryBlock, users: NDArray[np.integer], *, learns: bool
    ) -> Tensor:
        """Score the known items at all moments of a block.

        Args:
            items: (K, W) features.
            history: events of B users, with M moments that have a next item.
            users: (B,) their rows.
            learns: whether gradients reach this head, and not only `items`.

        Returns:
            (M, K).
        """
        parameters, taste = share(self.shared()), self.taste[torch.from_numpy(users)]
        if not learns:
            parameters = {name: value.detach() for name, value in parameters.items()}
            taste = taste.detach()
        table = item_vectors(parameters, items)
        states = user_states(parameters, table, history, taste)
        return score(parameters, states[history.target_mask].unsqueeze(0), table)[0]


class StudentSide(nn.Module):
    """What a result is made of: the student, its bridge and its recommender."""

    def __init__(self, student: Student, bridge: Tensor, head: Head) -> None:
        super().__init__()
        self.student = student
        self.bridge = nn.Parameter(bridge)
        self.head = head


class Pair(nn.Module):
    """Both sides, the best of each so far, and whether the guard stopped the teacher."""

    teacher_learns: Tensor
    best_score: Tensor
    adapter_of_best: Tensor
    best_teacher_score: Tensor
    best_adapter: Tensor

    def __init__(
        self,
        student: Student,
        teacher: TrainedRecommender,
        lessons: RecommendationLessons,
        *,
        integration: bool,
        head: HeadMode,
        texts_per_batch: int,
        seed: int,
        plan: BitPlan | None = None,
    ) -> None:
        """Put the teacher's recommender into the student, and fit the bridge.

        Args:
            student: learns in place.
            teacher: trained on the teacher's placed vectors of the known items.
            lessons: texts and histories.
            integration: start from the teacher's recommender; else from a fresh one.
            head: see the module docstring.
            texts_per_batch: texts in one forward pass; like lengths share one.
            seed: of a fresh head.
            plan: bits that the student computes with, as its bundle will; None: fp32.
        """
        super().__init__()
        self.lessons, self.shape = lessons, teacher.settings
        self.texts_per_batch, self.plan = texts_per_batch, plan
        self.ids = [*lessons.item_ids, *lessons.companion_ids]
        self.num_items = len(lessons.item_ids)
        space = TextSpace.of_catalogue(lessons.item_vectors)
        kinds = [kind for kind in (lessons.item_vectors, lessons.companion_vectors) if len(kind)]
        placed = np.concatenate([space.place(kind) for kind in kinds])
        self.taught = torch.from_numpy(placed)  # (N + C, W)
        width = self.taught.shape[1]
        self.adapter = nn.Parameter(torch.zeros(width, width))
        self.teacher_head = Head(teacher.parameters, teacher.taste)
        own = self.teacher_head
        if not integration:
            own = self._fresh_head(teacher, seed)
        elif head != "tied":
            own = Head(teacher.parameters, teacher.taste).requires_grad_(head == "free")
        with torch.no_grad():
            rows = np.arange(len(self.ids))
            bridge = closed_form_bridge(self._placed(student, rows), self.taught)
        self.side = StudentSide(student, bridge, own)
        self.best = copy.deepcopy(self.side).requires_grad_(False)
        self.best_teacher = copy.deepcopy(self.teacher_head).requires_grad_(False)
        self.register_buffer("best_score", torch.tensor(-1.0, dtype=torch.float64))
        self.register_buffer("adapter_of_best", torch.zeros(width, width))
        self.register_buffer("best_teacher_score", torch.tensor(-1.0, dtype=torch.float64))
        self.register_buffer("best_adapter", torch.zeros(width, width))
        self.register_buffer("teacher_learns", torch.ones((), dtype=torch.int64))

    def _fresh_head(self, teacher: TrainedRecommender, seed: int) -> Head:
        own_seed = integer_seed(seed, "cross-distillation-head") >> 32
        shape = (len(self.lessons.known), self.taught.shape[1])
        return Head(initial_parameters(self.shape, *shape, own_seed), np.zeros_like(teacher.taste))

    @property
    def is_tied(self) -> bool:
        """Whether both sides have one recommender."""
        return self.side.head is self.teacher_head

    @property
    def teaching(self) -> tuple[Head, Tensor]:
        """The teacher's recommender and adapter; those of its best look once the guard stopped it.

        A tied recommender is the student's own from then on.
        """
        if self.teacher_learns:
            return self.teacher_head, self.adapter
        return self.best_teacher, self.best_adapter

    @property
    def teacher_side(self) -> list[nn.Parameter]:
        """All that the teacher's loss moves."""
        return [self.adapter, *self.teacher_head.parameters()]

    def features(self, companions: NDArray[np.integer]) -> tuple[Tensor, Tensor]:
        """Return fS and fT, both (N + companions, W): the catalogue, then some companions."""
        rows = np.concatenate([np.arange(self.num_items), self.num_items + companions])
        taught = self.taught[torch.from_numpy(rows)]
        ours = self._placed(self.side.student, rows) @ self.side.bridge
        return ours, taught + taught @ self.teaching[1]

    def _placed(self, student: Student, rows: NDArray[np.integer]) -> Tensor:
        """Encode texts, the catalogue first, and place them as a phone does: (n, V)."""
        order = np.argsort([len(self.ids[row]) for row in rows], kind="stable")
        batches = []
        with fake_quantized(student, self.plan) if self.plan else nullcontext():
            for start in range(0, len(order), self.texts_per_batch):
                places = order[start : start + self.texts_per_batch]
                batches.append(student(*pad([self.ids[rows[place]] for place in places])))
        vectors = torch.cat(batches)[torch.from_numpy(np.argsort(order))]
        centred = vectors - vectors[: self.num_items].mean(dim=0)
        return F.normalize(centred, dim=1, eps=_SHORTEST)

    def scores_of_validation(self) -> tuple[float, float, float]:
        """Look at both sides without learning.

        Returns:
            nDCG@10 of the student and of the teacher on validation items (full ranking, mean over
            users), and the mean |fS - fT|^2 over the catalogue.
        """
        with torch.no_grad():
            ours, theirs = self.features(np.arange(0))
        apart = float((ours - theirs).square().sum(dim=1).mean())
        return self._ndcg(self.side.head, ours), self._ndcg(self.teaching[0], theirs), apart

    def _ndcg(self, head: Head, features: Tensor) -> float:
        lessons, total = self.lessons, 0.0
        table = features[torch.from_numpy(lessons.known)].numpy()
        shared = {name: value.detach() for name, value in head.shared().items()}
        taste = head.taste.detach().numpy()
        judged = np.flatnonzero(lessons.validation >= 0)
        for start in range(0, len(judged), JUDGING_USERS):
            users = judged[start : start + JUDGING_USERS]
            scores = score_users(
                shared, table, lessons.histories, users, taste[users], self.shape.max_history
            )
            unseen = ~lessons.histories.seen(users, len(table))
            ranks = held_out_ranks(scores, lessons.validation[users], unseen)
            total += float(metrics_of_ranks(*ranks)["ndcg@10"].sum())
        return total / max(1, len(judged))

    def remember(self, student_score: float) -> None:
        """Keep the student side as the best one, if none before was better."""
        if student_score >= float(self.best_score):
            self.best_score.fill_(student_score)
            self.best.load_state_dict(self.side.state_dict())
            self.adapter_of_best.copy_(self.teaching[1].detach())

    def guard(self, teacher_score: float, drop: float) -> None:
        """Keep the teacher if none before was better; stop it if it fell too far below its best.

        Args:
            teacher_score: of this look.
            drop: how far it may fall, 0 to 1.
        """
        if not self.teacher_learns:
            return
        if teacher_score >= float(self.best_teacher_score):
            self.best_teacher_score.fill_(teacher_score)
            self.best_teacher.load_state_dict(self.teacher_head.state_dict())
            self.best_adapter.copy_(self.adapter.detach())
        elif teacher_score < float(self.best_teacher_score) - drop:
            self.teacher_learns.zero_()

    def teachers_items(self) -> NDArray[np.float32]:
        """Return the known items' vectors, the best student's recommender reading fT: (K, dim)."""
        taught = self.taught[torch.from_numpy(self.lessons.known)]
        with torch.no_grad():
            features = taught + taught @ self.adapter_of_best
            return item_vectors(self.best.head.shared(), features).numpy()

    def result(self) -> tuple[Student, TrainedRecommender]:
        """Return the best student, and its recommender with the bridge folded in."""
        self.side.student.load_state_dict(self.best.student.state_dict())
        plain = {name: value.clone() for name, value in self.best.head.shared().items()}
        folded = fold(plain, self.best.bridge)
        taste = self.best.head.taste.numpy().copy()
        return self.side.student, TrainedRecommender(folded, taste, self.shape)


def closed_form_bridge(placed: Tensor, taught: Tensor) -> Tensor:
    """Return the (V, W) matrix that maps the student's vectors best onto the teacher's (ridge).

    Args:
        placed: (n, V) float32, the student's.
        taught: (n, W) float32, the teacher's of the same texts.
    """
    X, Y = placed.double(), taught.double()
    gram = X.T @ X
    ridge = _RIDGE * gram.diagonal().mean() + _SHORTEST
    solved: Tensor = torch.linalg.solve(gram + ridge * torch.eye(len(gram)).double(), X.T @ Y)
    return solved.float().contiguous()  # AdamW's loaded moments lie row by row
