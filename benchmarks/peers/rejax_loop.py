"""rejax's DQN, which compiles environment, replay and update into one program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from flax import linen
from rejax import DQN
from rejax.buffers import ReplayBuffer
from rejax.networks import DiscreteQNetwork, EpsilonGreedyPolicy
from settings import Setting


def make_training(
    setting: Setting, steps: int, members: int, replaces: bool
) -> tuple[Any, Callable[[Any], Any]]:
    """Return the first state of training and a compiled function that takes `steps` steps.

    The function changes the state that it is given. With several members, states have an axis of
    them. Each step is followed by an update, of squared loss; there are no evaluations.

    Args:
        setting: The hyperparameters.
        steps: Steps of each member in a call.
        members: Number of seeds, under `vmap`.
        replaces: Whether batches are sampled with replacement, from now on in this process. rejax
            samples without, in a time proportional to the buffer's capacity.
    """
    if setting.env != "CartPole-v1":
        raise SystemExit(f"gymnax has no {setting.env}")
    if setting.train_every != 1:
        raise SystemExit("rejax can't take several steps of one environment between updates")
    if replaces:
        ReplayBuffer.sample = sample_with_replacement
    algorithm = make_algorithm(setting, steps)

    def start(key: Any) -> Any:
        return algorithm.init_state(key)

    def train(state: Any) -> Any:
        return algorithm.train(train_state=state)[0]

    key = jax.random.PRNGKey(0)
    if members > 1:
        key = jax.random.split(key, members)
        start, train = jax.vmap(start), jax.vmap(train)
    state = jax.jit(start)(key)
    return state, jax.jit(train, donate_argnums=0).lower(state).compile()


def make_algorithm(setting: Setting, steps: int) -> DQN:
    """Return DQN for so many steps in a call of `train`."""
    algorithm = DQN.create(
        env=setting.env,
        total_timesteps=steps,
        eval_freq=steps,
        skip_initial_evaluation=True,
        learning_rate=setting.lr,
        gamma=setting.gamma,
        buffer_size=setting.buffer,
        fill_buffer=setting.starts,
        batch_size=setting.batch,
        num_envs=1,
        num_epochs=setting.updates,
        target_update_freq=setting.target_every,
        polyak=0.0,  # a copy
        eps_start=setting.epsilon,
        eps_end=setting.epsilon,
        ddqn=False,
    )
    network = EpsilonGreedyPolicy(DiscreteQNetwork)(
        hidden_layer_sizes=setting.widths,
        action_dim=algorithm.action_dim,
        activation=linen.relu,
    )
    return algorithm.replace(agent=network, eval_callback=lambda *_: ())


def sample_with_replacement(buffer: ReplayBuffer, num: int, rng: Any) -> Any:
    """Sample a batch as other libraries do."""
    rows = jax.random.randint(rng, (num,), 0, buffer.num_entries)
    return jax.tree.map(lambda values: values[rows], buffer.data)
