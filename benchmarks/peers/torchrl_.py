"""Time TorchRL, with a collector, replay buffer and loss as in its own DQN example."""

from __future__ import annotations

import sys

import gymnasium
from settings import SETTINGS
from timed import watch

setting, first, last = SETTINGS[sys.argv[1]], int(sys.argv[2]), int(sys.argv[3])
watch(first, last)

import torch  # noqa: E402
from tensordict.nn import TensorDictSequential  # noqa: E402
from torchrl.collectors import Collector  # noqa: E402
from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer  # noqa: E402
from torchrl.envs import GymWrapper  # noqa: E402
from torchrl.modules import MLP, EGreedyModule, QValueActor  # noqa: E402
from torchrl.objectives import DQNLoss, HardUpdate  # noqa: E402

env = GymWrapper(gymnasium.make(setting.env), categorical_action_encoding=True)
network = MLP(
    in_features=env.observation_spec["observation"].shape[-1],
    out_features=env.action_spec.space.n,
    num_cells=list(setting.widths),
    activation_class=torch.nn.ReLU,
)
actor = QValueActor(network, in_keys=["observation"], spec=env.action_spec)
greedy = EGreedyModule(env.action_spec, eps_init=setting.epsilon, eps_end=setting.epsilon)
collector = Collector(
    env,
    TensorDictSequential(actor, greedy),
    frames_per_batch=setting.train_every,
    total_frames=-1,
    init_random_frames=setting.starts,
)
buffer = TensorDictReplayBuffer(storage=LazyTensorStorage(setting.buffer), batch_size=setting.batch)
loss = DQNLoss(actor, loss_function="smooth_l1", delay_value=True, action_space=env.action_spec)
loss.make_value_estimator(gamma=setting.gamma)
updater = HardUpdate(
    loss,
    value_network_update_interval=setting.target_every * setting.updates // setting.train_every,
)
optimizer = torch.optim.Adam(loss.parameters(), lr=setting.lr)
for count, steps in enumerate(collector):
    buffer.extend(steps.reshape(-1))
    if count * setting.train_every < setting.starts:
        continue
    for _ in range(setting.updates):
        value = loss(buffer.sample())["loss"]
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        updater.step()
