import pytest

from clients.protocol.secure_sum.questions import Terms
from server.secure_sum.costs import SumShape, cloud_cost, phone_cost
from simulation.engines.masked_sum import MaskedSum
from tests.server.secure_sum.test_masked_sums import masked_sum, terms


@pytest.mark.parametrize(
    ("parties", "degree", "bits", "length"), [(1, 0, 16, 1), (5, 0, 24, 33), (9, 4, 32, 100)]
)
def test_costs_are_those_of_the_real_messages(parties: int, degree: int, bits: int, length: int):
    played = masked_sum(terms(parties, length, bits=bits, degree=degree))
    played.play()
    shape = SumShape(bits, length, parties, degree)
    cost = phone_cost(shape)
    for party in played.vectors:
        assert tuple(played.up_bytes[party]) == cost.up_bytes
        assert tuple(played.down_bytes[party]) == cost.down_bytes
    cloud = cloud_cost(shape, lost=0)
    assert cloud.down_bytes == sum(map(sum, played.up_bytes.values()))
    assert cloud.up_bytes == sum(map(sum, played.down_bytes.values()))
    assert cloud.messages == 8 * parties


def test_lost_phones_cost_the_cloud_no_more_than_it_says():
    agreed: Terms = terms(8, 50, threshold=0.6)
    parties = sorted(masked_sum(agreed).vectors)
    played: MaskedSum = masked_sum(agreed, lost=dict.fromkeys(parties[:3], "vectors"))
    played.play()
    cloud = cloud_cost(SumShape(32, 50, 8, 0), lost=3)
    sent = sum(map(sum, played.up_bytes.values()))
    asked = sum(map(sum, played.down_bytes.values()))
    assert sent <= cloud.down_bytes and asked <= cloud.up_bytes
    assert cloud.masks == 5 + 3 * 5


def test_neighbours_make_letters_independent_of_the_cohort():
    few, many = (SumShape(24, 74_000, size, 100) for size in (1_000, 10_000))
    assert phone_cost(few).up == phone_cost(many).up
    assert phone_cost(SumShape(24, 74_000, 10_000, 0)).up > 1.2e6 > phone_cost(many).up
