import numpy as np
import pytest
import torch

from models.bundle import CONTENT_FILES, GRAPH, write_bundle
from models.compression.export.encoder_graph import export_graph, graph_parts
from models.compression.pretraining.batches import encode_ids, pad
from models.compression.quantization.few_bits import uniform
from models.compression.scenarios.scenario_graph import add_scenario_inputs
from models.compression.scenarios.scenario_training import (
    ScenarioSettings,
    answer_ids,
    build_scenario,
    classification,
    likeness,
    train_scenario,
    with_adapters,
)
from models.compression.student import StudentSettings, build_student
from models.encoder import Encoder, open_session
from models.errors import DataError, SettingsError
from models.scenarios_serving import ScenarioEncoder, ScenarioWeights
from models.wordpiece import SPECIAL_TOKENS, TokenizerSettings, vocabulary_to_bytes

LETTERS = "abcdefghij"
PIECES = [*SPECIAL_TOKENS, *LETTERS, *("##" + letter for letter in LETTERS)]
WORDS = len(PIECES)
READING = TokenizerSettings(lowercase=True, strip_accents=True, max_tokens=12)
SHAPE = StudentSettings(
    embedding_size=8,
    hidden_size=16,
    intermediate_size=24,
    num_heads=2,
    layers=1,
    passes=2,
    adapter_size=0,
    max_tokens=12,
    vector_size=6,
)
INSIDE = ScenarioSettings(
    place="stack",
    adapter_size=4,
    dropout=0.1,
    epochs=10,
    batch_size=16,
    learning_rate=0.02,
    warmup_share=0.1,
    weight_decay=0.01,
)
AFTER = INSIDE.model_copy(update={"place": "pooled", "epochs": 20})
HEAD = AFTER.model_copy(update={"adapter_size": 0})
PLACES = pytest.mark.parametrize("settings", [INSIDE, AFTER, HEAD], ids=["stack", "pooled", "head"])


def encoder(**changes):
    """An encoder whose weights all differ, as after training."""
    student = build_student(SHAPE.model_copy(update=changes), WORDS, seed=1).eval()
    noise = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=noise))
        student.words.weight.mul_(8)  # so that texts differ by their words
    return student


def lived(student, settings, answers=3, seed=5):
    """A scenario whose weights all differ."""
    scenario = build_scenario(student, settings, answers, seed=seed)
    noise = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in scenario.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=noise))
        scenario.centre_on(3 * torch.randn(9, scenario.centre.numel(), generator=noise))
    return scenario


@pytest.fixture(scope="module")
def lesson():
    """Texts of three kinds, each of letters of its own."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    ids = [
        [2, *rng.integers(5 + 6 * kind, 11 + 6 * kind, size=rng.integers(2, 7)).tolist(), 3]
        for kind in labels
    ]
    return ids, labels


# --- training -------------------------------------------------------------------------------------


@PLACES
def test_a_scenario_learns_and_the_encoder_stays(lesson, settings):
    ids, labels = lesson
    student = encoder()
    before = [parameter.clone() for parameter in student.parameters()]
    scenario = build_scenario(student, settings, 3, seed=1)
    objective = classification(labels, None, teacher_share=0.0, temperature=1.0)
    losses = train_scenario(student, scenario, ids, objective, settings, seed=1)
    right = (answer_ids(student, scenario, ids).argmax(axis=1) == labels).mean()
    assert len(losses) == settings.epochs * 4
    assert right > 0.8
    assert all(torch.equal(old, new) for old, new in zip(before, student.parameters(), strict=True))
    assert all(parameter.grad is None for parameter in student.parameters())
    assert all(parameter.requires_grad for parameter in student.parameters())


def test_adapters_inside_move_the_encoders_vectors_to_targets(lesson):
    ids, labels = lesson
    targets = np.eye(6, dtype=np.float32)[labels]
    student = encoder()
    scenario = build_scenario(student, INSIDE, None, seed=1)
    assert np.allclose(answer_ids(student, scenario, ids), encode_ids(student, ids, 16), atol=1e-6)
    train_scenario(student, scenario, ids, likeness(targets, 0.1), INSIDE, seed=1)
    answers = answer_ids(student, scenario, ids)
    assert ((answers @ np.eye(6)[:3].T).argmax(axis=1) == labels).mean() > 0.8
    np.testing.assert_allclose(np.linalg.norm(answers, axis=1), 1, atol=1e-5)


@PLACES
def test_same_seed_same_scenario(lesson, settings):
    ids, labels = lesson
    short = settings.model_copy(update={"epochs": 1})
    student = encoder()
    objective = classification(labels, None, teacher_share=0.0, temperature=1.0)
    made = [build_scenario(student, short, 3, seed) for seed in (1, 1, 2)]
    for scenario, seed in zip(made, (1, 1, 2), strict=True):
        train_scenario(student, scenario, ids, objective, short, seed)
    first, again, other = (torch.cat([p.ravel() for p in s.parameters()]) for s in made)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_distillation_takes_the_teachers_logits_where_labels_are_wrong(lesson):
    ids, labels = lesson
    logits = 4 * np.eye(3, dtype=np.float32)[labels]
    wrong = np.zeros(60, np.int64)
    student = encoder()
    scenario = build_scenario(student, INSIDE, 3, seed=1)
    objective = classification(wrong, logits, teacher_share=1.0, temperature=2.0)
    train_scenario(student, scenario, ids, objective, INSIDE, seed=1)
    assert (answer_ids(student, scenario, ids).argmax(axis=1) == labels).mean() > 0.8


def test_classification_by_hand():
    answers = torch.tensor([[0.0, 0.0], [0.0, 0.0]])
    teacher = np.log(np.asarray([[0.9, 0.1], [0.5, 0.5]], np.float32))
    loss = classification(np.array([0, 1]), teacher, teacher_share=0.25, temperature=1.0)
    kl = (0.9 * np.log(0.9 / 0.5) + 0.1 * np.log(0.1 / 0.5)) / 2
    expected = 0.75 * np.log(2) + 0.25 * kl
    assert loss(answers, np.array([0, 1])).item() == pytest.approx(expected, rel=1e-5)


def test_likeness_counts_equal_targets_once():
    targets = np.asarray([[1, 0], [1, 0], [0, 1]], np.float32)
    loss = likeness(targets, temperature=1.0)
    answers = torch.from_numpy(2 * targets)
    expected = np.log(1 + np.exp(-1))  # right at cosine 1 against one other at 0
    assert loss(answers, np.arange(3)).item() == pytest.approx(expected, rel=1e-5)


def test_an_adapter_more_at_each_place_of_a_student_that_has_its_own():
    student = encoder(adapter_size=2)
    scenario = lived(student, INSIDE)
    ids, mask = pad([[2, 7, 8, 3], [2, 9, 3]])
    x = student.hidden_states(ids, mask)[0]
    blocked = torch.where(mask[:, None, None, :] > 0, 0.0, -torch.inf)
    for own, ours in zip(student.adapters, scenario.adapters, strict=True):
        x = ours(own(student.layers[0](x, blocked)))
    view = with_adapters(student, scenario.adapters)
    assert torch.equal(view.hidden_states(ids, mask)[-1], x)
    assert len(list(student.adapters[0].parameters())) == 4  # the student itself is as it was


def test_what_cannot_be_trained():
    ids = [[2, 7, 3]]
    student = encoder()
    with pytest.raises(SettingsError, match="place is 'pooled' without a head"):
        build_scenario(student, AFTER, None, seed=1)
    bag = encoder(layers=0, passes=1, hidden_size=8)
    with pytest.raises(SettingsError, match="'stack' with 0 layers"):
        build_scenario(bag, INSIDE, 3, seed=1)
    with pytest.raises(SettingsError, match="2 layers and adapter_size 0"):
        build_scenario(student, INSIDE.model_copy(update={"adapter_size": 0}), 3, seed=1)
    scenario = build_scenario(student, AFTER, 2, seed=1)
    objective = classification(np.zeros(1), None, teacher_share=0.0, temperature=1.0)
    with pytest.raises(DataError, match="no texts"):
        train_scenario(student, scenario, [], objective, AFTER, seed=1)
    with pytest.raises(DataError, match=r"astray at step 1.*learning_rate"):
        train_scenario(
            student, scenario, ids, lambda answers, _: answers.sum() * torch.nan, AFTER, seed=1
        )


# --- on the phone ---------------------------------------------------------------------------------


def bundle(folder, graph):
    files = dict(
        zip(
            CONTENT_FILES,
            (graph.SerializeToString(), vocabulary_to_bytes(PIECES), READING.to_bytes()),
            strict=True,
        )
    )
    return write_bundle(
        folder,
        files,
        graph_parts=graph_parts(graph),
        vector_size=6,
        origin={"seed": 1},
        budget_bytes=100_000,
    )


@pytest.fixture(scope="module")
def phone_parts(tmp_path_factory):
    """A student, the folder of its fp32 bundle with scenario inputs, and the graph's hash."""
    student = encoder()
    folder = tmp_path_factory.mktemp("phone") / "bundle"
    graph = add_scenario_inputs(export_graph(student, uniform(student, 32)), SHAPE)
    made = bundle(folder, graph)
    return student, folder, made.manifest["files"][GRAPH]["sha256"]


TEXTS = ["abc de", "j", "aabb ccd e"]


def as_ids(texts):
    return [
        [
            2,
            *(
                PIECES.index(("##" if k else "") + letter)
                for word in text.split()
                for k, letter in enumerate(word)
            ),
            3,
        ]
        for text in texts
    ]


@PLACES
def test_the_phone_answers_as_torch_does(phone_parts, settings):
    student, folder, sha = phone_parts
    scenario = lived(student, settings)
    content = scenario.weights(sha, labels=("one", "two", "three")).to_bytes()
    phone = ScenarioEncoder.load(folder)
    phone.add_scenario("intent", content)
    # Torch with the weights as the file holds them, so that only the arithmetic differs.
    stored = ScenarioWeights.from_bytes(content)
    again = lived(student, settings)
    with torch.no_grad():
        again.centre, again.spread = torch.from_numpy(stored.centre), torch.ones(())
        for place, adapter in enumerate(again.adapters):
            adapter.down.weight.copy_(torch.from_numpy(stored.down[place].T))
            adapter.down.bias.copy_(torch.from_numpy(stored.down_bias[place]))
            adapter.up.weight.copy_(torch.from_numpy(stored.up[place].T))
            adapter.up.bias.copy_(torch.from_numpy(stored.up_bias[place]))
        again.head.weight.copy_(torch.from_numpy(stored.head))
        again.head.bias.copy_(torch.from_numpy(stored.head_bias))
    expected = answer_ids(student, again, as_ids(TEXTS))
    # That is the trained scenario, as near as 8 bits hold it.
    np.testing.assert_allclose(answer_ids(student, scenario, as_ids(TEXTS)), expected, atol=0.2)
    answers = phone.answer("intent", TEXTS)
    np.testing.assert_allclose(answers, expected, atol=1e-4)
    best = [("one", "two", "three")[k] for k in expected.argmax(axis=1)]
    assert phone.label("intent", TEXTS) == best


def test_a_scenario_without_a_head_moves_the_vectors(phone_parts):
    student, folder, sha = phone_parts
    scenario = lived(student, INSIDE, answers=None)
    phone = ScenarioEncoder.load(folder)
    phone.add_scenario("items", scenario.weights(sha).to_bytes())
    answers = phone.answer("items", TEXTS)
    np.testing.assert_allclose(np.linalg.norm(answers, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(answers, answer_ids(student, scenario, as_ids(TEXTS)), atol=0.05)
    assert np.abs(answers - phone.encode(TEXTS)).max() > 0.1
    assert phone.answer("items", []).shape == (0, 6)
    with pytest.raises(DataError, match="'items' has no labels"):
        phone.label("items", TEXTS)


def test_several_scenarios_and_the_encoder_do_not_disturb_each_other(phone_parts):
    student, folder, sha = phone_parts
    plain = Encoder.load(folder).encode(TEXTS)
    phone = ScenarioEncoder.load(folder)
    kinds = {"inside": INSIDE, "after": AFTER, "other": AFTER}
    for seed, (name, settings) in enumerate(kinds.items()):
        phone.add_scenario(name, lived(student, settings, 3, seed).weights(sha).to_bytes())
    alone = {name: phone.answer(name, TEXTS) for name in kinds}
    together = phone.answers(list(kinds), TEXTS)
    for name in kinds:
        assert np.array_equal(alone[name], together[name])
    assert not np.allclose(alone["after"], alone["other"])
    assert np.array_equal(phone.encode(TEXTS), plain)


def test_a_bag_of_words_has_scenarios_too(tmp_path):
    student = encoder(layers=0, passes=1, hidden_size=8)
    graph = add_scenario_inputs(export_graph(student, uniform(student, 32)), student.settings)
    made = bundle(tmp_path / "bundle", graph)
    scenario = lived(student, AFTER)
    phone = ScenarioEncoder.load(made.folder)
    phone.add_scenario(
        "intent", scenario.weights(made.manifest["files"][GRAPH]["sha256"]).to_bytes()
    )
    expected = answer_ids(student, scenario, as_ids(TEXTS))
    np.testing.assert_allclose(phone.answer("intent", TEXTS), expected, atol=0.02)


@pytest.mark.parametrize("bits", [32, 8, 4])
def test_without_adapters_the_graph_is_the_encoder(bits):
    student = encoder()
    graph = export_graph(student, uniform(student, bits))
    more = add_scenario_inputs(graph, SHAPE)
    before, after = (open_session(model.SerializeToString()) for model in (graph, more))
    ids = np.asarray(as_ids(["abc de"]), np.int64)
    feeds = {"ids": ids, "mask": np.ones_like(ids)}
    assert np.array_equal(before.run(None, feeds)[0], after.run(["vector"], feeds)[0])
    # No weight goes along: what it costs are a function, names and shapes.
    assert more.ByteSize() - graph.ByteSize() < 1_500
    assert sum(graph_parts(more).values()) == more.ByteSize()
    weights = {part: size for part, size in graph_parts(more).items() if part != "graph structure"}
    assert weights.items() <= graph_parts(graph).items()


def test_texts_that_say_nothing_have_zeros(phone_parts):
    student, folder, sha = phone_parts
    phone = ScenarioEncoder.load(folder)
    phone.add_scenario("intent", lived(student, INSIDE).weights(sha).to_bytes())
    assert np.array_equal(phone.answer("intent", ["", "  "]), np.zeros((2, 3), np.float32))


def test_what_the_phone_refuses(phone_parts, tmp_path):
    student, folder, _ = phone_parts
    weights = lived(student, INSIDE).weights
    phone = ScenarioEncoder.load(folder)
    with pytest.raises(DataError, match="no scenario 'intent': there are \\[\\]"):
        phone.answer("intent", TEXTS)
    with pytest.raises(DataError, match="trained on the encoder 000000000000"):
        phone.add_scenario("intent", weights("0" * 64).to_bytes())
    plain = bundle(tmp_path / "plain", export_graph(student, uniform(student, 8)))
    with pytest.raises(DataError, match="takes no adapters"):
        ScenarioEncoder.load(plain.folder).add_scenario(
            "intent", weights(plain.manifest["files"][GRAPH]["sha256"]).to_bytes()
        )
