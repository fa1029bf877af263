"""The common job in FedJAX 0.0.17 (2023), with the one line that newer JAX wants.

Run in an environment of its own by `python -m benchmarks.common_job`. FedJAX shuffles each client's
rows by seed, which cannot be turned off: the loss differs in the fourth digit.
"""

# mypy: ignore-errors
import os

os.environ.setdefault(
    "XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
)

import jax
import jax.numpy as jnp
import numpy as np

jax.tree_map = jax.tree_util.tree_map  # removed from JAX after FedJAX's last release

import fedjax

from benchmarks.common_job import job


def loss(layers, batch, rng):
    hidden = jax.nn.relu(batch["x"] @ layers[0].T + layers[1])
    hidden = jax.nn.relu(hidden @ layers[2].T + layers[3])
    logits = hidden @ layers[4].T + layers[5]
    return jnp.mean(jnp.logaddexp(0, logits) - batch["y"] * logits)


def main() -> None:
    features, labels = job.rows()
    users = fedjax.InMemoryFederatedData(
        {user: {"x": features[user], "y": labels[user]} for user in range(job.NUM_USERS)}
    )
    algorithm = fedjax.algorithms.fed_avg.federated_averaging(
        jax.grad(loss),
        fedjax.optimizers.sgd(job.RATE),
        fedjax.optimizers.sgd(1.0),
        fedjax.ShuffleRepeatBatchHParams(batch_size=job.BATCH_SIZE, num_epochs=1, seed=0),
    )
    state = algorithm.init([jnp.asarray(each) for each in job.initial()])

    def play(state, cohort):
        keys = jax.random.split(jax.random.PRNGKey(0), len(cohort))
        clients = [
            (int(user), users.get_client(int(user)), key)
            for user, key in zip(cohort, keys, strict=True)
        ]
        return algorithm.apply(state, clients)[0]

    play(state, job.cohorts()[0][:2])  # compiled before the clock: nobody else has to compile
    with job.timed() as clock:
        for cohort in job.cohorts():
            state = play(state, cohort)
        jax.block_until_ready(state.params)
    job.report(clock, [np.asarray(each) for each in state.params])


if __name__ == "__main__":
    main()
