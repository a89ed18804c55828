"""Time Tianshou."""

from __future__ import annotations

import sys

import gymnasium
from settings import SETTINGS
from timed import watch

setting, first, last = SETTINGS[sys.argv[1]], int(sys.argv[2]), int(sys.argv[3])
watch(first, last)

from tianshou.algorithm import DQN  # noqa: E402
from tianshou.algorithm.modelfree.dqn import DiscreteQLearningPolicy  # noqa: E402
from tianshou.algorithm.optim import AdamOptimizerFactory  # noqa: E402
from tianshou.data import Collector, VectorReplayBuffer  # noqa: E402
from tianshou.env import DummyVectorEnv  # noqa: E402
from tianshou.trainer import OffPolicyTrainerParams  # noqa: E402
from tianshou.utils.net.common import Net  # noqa: E402

envs = DummyVectorEnv([lambda: gymnasium.make(setting.env)])
observations, actions = envs.observation_space[0], envs.action_space[0]
policy = DiscreteQLearningPolicy(
    model=Net(
        state_shape=observations.shape,
        action_shape=actions.n,
        hidden_sizes=list(setting.widths),
    ),
    action_space=actions,
    eps_training=setting.epsilon,
)
algorithm = DQN(
    policy=policy,
    optim=AdamOptimizerFactory(lr=setting.lr),
    gamma=setting.gamma,
    target_update_freq=setting.target_every,
    is_double=False,
    huber_loss_delta=1.0,
)
collector = Collector(
    algorithm, envs, VectorReplayBuffer(setting.buffer, 1), exploration_noise=True
)
collector.reset()
collector.collect(n_step=setting.starts)
algorithm.run_training(
    OffPolicyTrainerParams(
        training_collector=collector,
        max_epochs=1,
        epoch_num_steps=10**9,
        collection_step_num_env_steps=setting.train_every,
        update_step_num_gradient_steps_per_sample=setting.updates / setting.train_every,
        batch_size=setting.batch,
        verbose=False,
        show_progress=False,
    )
)
