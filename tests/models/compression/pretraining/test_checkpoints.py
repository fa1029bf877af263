import pytest
import torch
from safetensors.torch import load_file, save_file

from models.compression.pretraining.checkpoints import load_checkpoint, save_checkpoint
from models.errors import DataError

STEPS = 9


def run(folder, last=STEPS, every=3):
    """A training with a checkpoint at every third step; the steps it took and its weights."""
    layer = torch.nn.Linear(3, 2)
    with torch.no_grad():
        layer.weight.fill_(1.0)
        layer.bias.zero_()
    optimizer = torch.optim.AdamW(layer.parameters(), 0.1)
    done, losses = load_checkpoint(folder, layer, optimizer)
    for step in range(done, last):
        loss = (layer(torch.tensor([[1.0, 2.0, float(step)]])) ** 2).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if len(losses) % every == 0:
            save_checkpoint(folder, len(losses), layer, optimizer, losses)
    return last - done, losses, layer.state_dict()


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-50])


def empty(path):
    path.write_bytes(b"")


def garble(path):
    path.write_bytes(b"no tensors" * 100)


def without(name):
    def damage(path):
        tensors = load_file(path)
        del tensors[name]
        save_file(tensors, path)

    return damage


DAMAGES = {
    "cut off": cut_off,
    "empty": empty,
    "garbled": garble,
    "no losses": without("losses"),
    "half a moment": without("exp_avg_sq.0"),
    "no count": without("count.1"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_checkpoint_is_passed_over_and_the_run_ends_the_same(tmp_path, damage):
    _, losses, weights = run(tmp_path / "whole")
    folder = tmp_path / "damaged"
    run(folder, last=7)
    damage(folder / "step-00000006.safetensors")
    with pytest.warns(UserWarning, match=r"step-00000006\.safetensors is damaged .*: the run goes"):
        steps, again, last = run(folder)
    assert steps == 6  # from the checkpoint of step 3 on
    assert again == losses
    assert all(torch.equal(weights[name], last[name]) for name in weights)


def test_without_a_whole_checkpoint_the_run_begins_anew(tmp_path):
    _, losses, _ = run(tmp_path / "whole")
    run(tmp_path / "damaged", last=7)
    for path in (tmp_path / "damaged").iterdir():
        empty(path)
    with pytest.warns(UserWarning, match="damaged"):
        steps, again, _ = run(tmp_path / "damaged")
    assert (steps, again) == (9, losses)


def test_the_last_two_are_kept(tmp_path):
    run(tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["step-00000006.safetensors", "step-00000009.safetensors"]


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    run(tmp_path)
    layer = torch.nn.Linear(5, 2)
    with pytest.raises(DataError, match="of another model: delete its folder"):
        load_checkpoint(tmp_path, layer, torch.optim.AdamW(layer.parameters()))
