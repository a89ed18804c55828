from __future__ import annotations

import torch

from dqn_cli.agent.batch import RandomInputs


def test_random_inputs_are_those_of_the_online_network_the_target_and_the_selection() -> None:
    random = RandomInputs(torch.arange(12.0).view(2, 2, 3), torch.arange(6.0).view(3, 2))
    assert random.online_taus.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert random.target_taus.tolist() == [[6, 7, 8], [9, 10, 11]]
    assert random.online_noise.tolist() == [0, 1]
    assert random.target_noise.tolist() == [2, 3]
    assert random.selection_noise.tolist() == [4, 5]
