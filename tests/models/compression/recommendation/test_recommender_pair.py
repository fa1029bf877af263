import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.compression.pretraining.batches import encode_ids
from models.compression.quantization.few_bits import plan_bits
from models.compression.quantization.polish import rounded
from models.compression.recommendation.recommender_pair import (
    Head,
    Pair,
    absorb,
    closed_form_bridge,
    fold,
)
from models.errors import DataError
from models.scoring import score_users
from models.text_space import TextSpace
from tests.models.compression import tiny_recommendation as tiny


def make_pair(head: str = "free", *, integration: bool = True, known: int = tiny.NUM_ITEMS) -> Pair:
    return Pair(
        tiny.student(),
        tiny.teacher(known),
        tiny.lessons(known),
        integration=integration,
        head=head,
        texts_per_batch=5,
        seed=0,
    )


@given(seed=st.integers(0, 1000), size=st.integers(1, 12))
def test_folding_the_bridge_changes_no_score(seed: int, size: int):
    rng = torch.Generator().manual_seed(seed)
    bridge = torch.randn(size, tiny.WIDTH, generator=rng)
    placed = torch.nn.functional.normalize(torch.randn(tiny.NUM_ITEMS, size, generator=rng), dim=1)
    head, histories, users = tiny.teacher(), tiny.lessons().histories, np.arange(tiny.NUM_USERS)
    before, after = (
        score_users(parameters, text.numpy(), histories, users, head.taste, 5)
        for parameters, text in (
            (head.parameters, placed @ bridge),
            (fold(head.parameters, bridge), placed),
        )
    )
    np.testing.assert_allclose(after, before, atol=1e-5 * max(1.0, np.abs(before).max()))


@given(seed=st.integers(0, 1000))
def test_absorbing_gives_known_items_the_vectors_wanted(seed: int):
    """The recommender on other texts then scores as it did on the first ones."""
    rng = torch.Generator().manual_seed(seed)
    first, other = (
        torch.nn.functional.normalize(torch.randn(tiny.NUM_ITEMS, tiny.WIDTH, generator=rng), dim=1)
        for _ in range(2)
    )
    head, histories, users = tiny.teacher(), tiny.lessons().histories, np.arange(tiny.NUM_USERS)
    wanted = first @ head.parameters["text_projection"] + head.parameters["id_residual"]
    absorbed = absorb(head.parameters, other.numpy(), wanted.numpy())
    before, after = (
        score_users(parameters, text.numpy(), histories, users, head.taste, 5)
        for parameters, text in ((head.parameters, first), (absorbed, other))
    )
    np.testing.assert_allclose(after, before, atol=1e-4)


def test_vectors_are_placed_as_phones_place_them():
    """The student's features are bridge times `TextSpace` of what `encode_ids` gives."""
    pair = make_pair()
    raw = encode_ids(pair.side.student, tiny.lessons().item_ids, 3)
    expected = TextSpace.of_catalogue(raw).place(raw) @ pair.side.bridge.detach().numpy()
    with torch.no_grad():
        ours, theirs = pair.features(np.array([1, 1]))
    np.testing.assert_allclose(ours[: tiny.NUM_ITEMS], expected, atol=1e-5)
    assert ours.shape == theirs.shape == (tiny.NUM_ITEMS + 2, tiny.WIDTH)
    torch.testing.assert_close(ours[-1], ours[-2])
    torch.testing.assert_close(theirs, pair.taught[[*range(14), 15, 15]])  # the adapter is 0


def test_a_student_of_few_bits_is_placed_by_its_rounded_weights():
    """What the pair sees are the vectors of the graph to come, and gradients reach the weights."""
    student = tiny.student()
    plan = plan_bits(student.settings, 4, 4)
    pair = Pair(
        student,
        tiny.teacher(),
        tiny.lessons(),
        integration=True,
        head="free",
        texts_per_batch=5,
        seed=0,
        plan=plan,
    )
    ours, _ = pair.features(np.arange(0))
    ours.sum().backward()
    assert student.words.weight.grad is not None
    before = student.words.weight.clone()
    for name, bits in plan.items():
        weight = student.get_parameter(f"{name}.weight")
        with torch.no_grad():
            weight.copy_(torch.from_numpy(rounded(name, weight.detach().numpy(), bits)))
    assert not torch.equal(before, student.words.weight)
    raw = encode_ids(student, tiny.lessons().item_ids, 3)
    expected = TextSpace.of_catalogue(raw).place(raw) @ pair.side.bridge.detach().numpy()
    np.testing.assert_allclose(ours.detach(), expected, atol=1e-4)


def test_the_bridge_starts_as_the_best_linear_map():
    rng = torch.Generator().manual_seed(0)
    placed, truth = torch.randn(50, 6, generator=rng), torch.randn(6, 4, generator=rng)
    torch.testing.assert_close(
        closed_form_bridge(placed, placed @ truth), truth, atol=0.01, rtol=0.01
    )


def test_a_head_scores_as_the_recommender_it_was_made_from():
    """Row m of its scores is the m-th moment that has a next item."""
    made, told = tiny.teacher(), tiny.lessons()
    text = TextSpace.of_catalogue(told.item_vectors).place(told.item_vectors)
    users = np.array([3, 4])
    history = told.histories.training_block(users, 5)
    head = Head(made.parameters, made.taste)
    scores = head.scores(torch.from_numpy(text), history, users, learns=True)
    assert scores.shape == (int(history.target_mask.sum()), tiny.NUM_ITEMS)
    # The last moment of user 4: history of all but its last event.
    offsets = told.histories.offsets
    cut = type(told.histories)(np.array([0, 4]), told.histories.items[offsets[4] : offsets[5] - 1])
    expected = score_users(made.parameters, text, cut, np.array([0]), made.taste[[4]], 5)
    np.testing.assert_allclose(scores[-1].detach(), expected[0], atol=1e-5)


@pytest.mark.parametrize(
    ("head", "integration", "tied", "learns"),
    [("frozen", True, False, False), ("tied", True, True, True), ("free", True, False, True)],
)
def test_who_trains_the_students_recommender(
    head: str, integration: bool, tied: bool, learns: bool
):
    pair = make_pair(head, integration=integration)
    assert pair.is_tied == tied
    assert all(p.requires_grad == learns for p in pair.side.head.parameters())
    torch.testing.assert_close(
        pair.side.head.item_bias.data, tiny.teacher().parameters["item_bias"]
    )


def test_without_integration_the_recommender_is_fresh():
    pair = make_pair(integration=False)
    assert not pair.side.head.item_bias.any() and not pair.side.head.taste.any()


def test_a_catalogue_may_have_items_that_the_recommender_does_not_know():
    pair = make_pair(known=9)
    assert len(pair.features(np.arange(0))[0]) == tiny.NUM_ITEMS
    assert 0.0 <= pair.scores_of_validation()[0] <= 1.0


def test_the_best_student_is_kept():
    pair = make_pair()
    pair.remember(0.5)
    first = pair.best.bridge.clone()
    with torch.no_grad():
        pair.side.bridge.add_(1.0)
    pair.remember(0.4)
    torch.testing.assert_close(pair.best.bridge, first)
    pair.remember(0.5)  # the latest of equals
    torch.testing.assert_close(pair.best.bridge, first + 1.0)


def test_texts_and_vectors_must_match():
    told = tiny.lessons()
    with pytest.raises(DataError, match="14 item texts with 13 vectors"):
        type(told)(
            told.item_ids,
            told.item_vectors[:-1],
            told.known,
            told.histories,
            told.validation,
            told.companion_ids,
            told.companion_vectors,
        )
