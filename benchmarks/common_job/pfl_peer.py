"""The common job in pfl-research 0.6 (Apple), every user with weight 1.

Run in an environment of its own by `python -m benchmarks.common_job`.
"""

# mypy: ignore-errors
import torch
from pfl.aggregate.simulate import SimulatedBackend
from pfl.aggregate.weighting import WeightByUser
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.data import FederatedDataset
from pfl.data.dataset import Dataset
from pfl.hyperparam import NNTrainHyperParams
from pfl.model.pytorch import PyTorchModel

from benchmarks.common_job import job


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        first, second = job.HIDDEN
        self.net = torch.nn.Sequential(
            torch.nn.Linear(job.INPUTS, first),
            torch.nn.ReLU(),
            torch.nn.Linear(first, second),
            torch.nn.ReLU(),
            torch.nn.Linear(second, 1),
        )
        self.criterion = torch.nn.BCEWithLogitsLoss()

    def forward(self, x):
        return self.net(x)

    def loss(self, x, y, is_eval=False):
        return self.criterion(self(x), y)

    def metrics(self, x, y, is_eval=True):
        return {}


def main() -> None:
    torch.set_num_threads(1)
    features, labels = map(torch.from_numpy, job.rows())
    order = iter([*(int(user) for cohort in job.cohorts() for user in cohort), *[0] * 200])
    users = FederatedDataset(
        lambda user: Dataset(raw_data=[features[user], labels[user]], user_id=str(user)),
        lambda: next(order),
    )
    net = Net()
    for weight, start in zip(net.parameters(), job.initial(), strict=True):
        weight.data.copy_(torch.from_numpy(start))
    model = PyTorchModel(net, torch.optim.SGD, torch.optim.SGD(net.parameters(), 1.0))
    backend = SimulatedBackend(training_data=users, val_data=users, postprocessors=[WeightByUser()])
    how = NNAlgorithmParams(
        central_num_iterations=job.ROUNDS,
        evaluation_frequency=10**9,
        train_cohort_size=job.COHORT_SIZE,
        val_cohort_size=0,
    )
    local = NNTrainHyperParams(
        local_num_epochs=1, local_learning_rate=job.RATE, local_batch_size=job.BATCH_SIZE
    )
    with job.timed() as clock:
        FederatedAveraging().run(how, backend, model, local)
    job.report(clock, [weight.detach().numpy() for weight in net.parameters()])


if __name__ == "__main__":
    main()
