import torch

from models.threads import fixed_threads


def test_threads_are_pinned_and_given_back():
    before = torch.get_num_threads()
    with fixed_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_denormal_numbers_are_zero_inside_only():
    tiny = torch.tensor([1e-30])
    with fixed_threads(1):
        assert (tiny * 1e-10).item() == 0
    assert (tiny * 1e-10).item() > 0
