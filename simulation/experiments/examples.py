"""A dozen users side by side: what the server teacher recommends, and what their phone does.

The phone's list comes from the installed package, through onnxruntime and NumPy, with what the user
wrote privately encoded there. Titles and histories are local output: never commit or publish them.
A run that promises privacy shows nobody.
"""

import numpy as np
from numpy.typing import NDArray

from clients.serving import Phone
from models.seeds import generator
from simulation.data.interactions import Columns
from simulation.experiments.arms import FEDERATED, TEACHER
from simulation.experiments.outcome import Outcome
from simulation.reporting.model import UserExample
from simulation.run_folder import RunFolder
from simulation.settings import Settings

SHOWN_HISTORY = 6


def user_examples(run: RunFolder, settings: Settings, outcome: Outcome) -> tuple[UserExample, ...]:
    """Draw `comparison.examples` users at the address (seed, "examples") and serve each."""
    materials = outcome.materials
    evaluated = materials.evaluated
    count = min(settings.comparison.examples, len(evaluated))
    if count == 0 or settings.federation.privacy.is_private:
        return ()
    rng = generator(settings.seed, "examples")
    users = np.sort(rng.choice(evaluated, count, replace=False))
    phone = Phone.load(run.package, materials.catalogue)
    taste = outcome.federated[FEDERATED].shard().taste
    job, model = outcome.jobs[TEACHER], outcome.models[TEACHER]
    teacher_scores = job.scores(model, users)
    return tuple(
        _example(settings, outcome, phone, int(user), np.array(taste[user]), scores)
        for user, scores in zip(users, teacher_scores, strict=True)
    )


def _example(
    settings: Settings,
    outcome: Outcome,
    phone: Phone,
    user: int,
    taste: NDArray[np.float32],
    teacher_scores: NDArray[np.float32],
) -> UserExample:
    materials, top = outcome.materials, settings.comparison.top
    titles = materials.titles
    start, end = materials.pool.offsets[user], materials.pool.offsets[user + 1]
    history = materials.pool.items[start:end].astype(np.int64)
    written = materials.split.train[Columns.PRIVATE_TEXT].to_numpy()[start:end]
    texts = {place: text for place, text in enumerate(written) if text}
    on_phone = phone.recommend(history, texts, taste, top)
    scores = teacher_scores.copy()
    scores[history] = -np.inf
    on_server = np.argsort(-scores, kind="stable")[:top]
    tier = materials.world.manifest.tiers[materials.world.tier[user]]
    return UserExample(
        user=str(materials.split.interactions.users[user]),
        tier=tier,
        history=tuple(titles[item] for item in history[::-1][:SHOWN_HISTORY]),
        private_text=str(written[-1]) if len(written) and written[-1] else _latest(texts),
        held_out=titles[materials.split.held_out[user]],
        server=tuple(titles[item] for item in on_server),
        phone=tuple(titles[item] for item in on_phone),
    )


def _latest(texts: dict[int, str]) -> str:
    return texts[max(texts)] if texts else ""
