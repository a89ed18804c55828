from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from policies_to_export import random_policy, words_of

from dqn_cli.arrays import Array
from dqn_cli.exporting.agreement import Difference, compare
from dqn_cli.exporting.exported_policy import ExportedPolicy
from dqn_cli.exporting.observations import Observations, play
from dqn_cli.exporting.programs import Runner, module_runner
from dqn_cli.training.settings import Settings

Compared = tuple[ExportedPolicy, Observations]
ROWS = 20


@pytest.fixture(scope="module")
def compared(settings_of: Callable[..., Settings]) -> Compared:
    settings = settings_of(*words_of("gru", "scalar"))
    policy = random_policy(settings)
    seen, has_mask = play(settings, policy, ROWS)
    return ExportedPolicy(policy, settings.env, has_mask), seen


def changed(policy: ExportedPolicy, output: int, change: Callable[[Array], Any]) -> Runner:
    """Runs a policy, and changes one of its outputs."""
    run = module_runner(policy)

    def run_changed(arrays: Sequence[Array]) -> Sequence[Array]:
        outputs = list(run(arrays))
        outputs[output] = change(outputs[output])
        return outputs

    return run_changed


def test_the_same_policy_agrees(compared: Compared) -> None:
    policy, seen = compared
    lengths: list[int] = []

    def counted(arrays: Sequence[Array]) -> Sequence[Array]:
        lengths.append(len(arrays[0]))
        return module_runner(policy)(arrays)

    agreement = compare("model", counted, policy, seen)
    assert (agreement.observations, agreement.ties) == (ROWS, 0)
    assert agreement.largest < 1e-5
    assert lengths == [1] * 8 + [ROWS - 8]


@pytest.mark.parametrize(
    ("output", "change", "told"),
    [
        (1, lambda q: q + 0.01, "Q-values by 0.01, more than 0.0001, at 20 of 20 observations"),
        (1, lambda q: q * np.nan, "Q-values by nan"),
        (2, lambda state: state + 0.5, "next_state by 0.5"),
        (0, lambda action: (action + 1) % 3, "at 20 of 20 observations, first number 0"),
    ],
)
def test_another_policy_is_refused_in_one_line(
    compared: Compared, output: int, change: Callable[[Array], Any], told: str
) -> None:
    policy, seen = compared
    with pytest.raises(Difference) as caught:
        compare("model", changed(policy, output, change), policy, seen)
    message = str(caught.value)
    assert message.startswith("model differs from the checkpoint: ")
    assert told in message
    assert "\n" not in message


def test_actions_of_equal_values_are_ties(compared: Compared) -> None:
    policy, seen = compared
    q = seen.q.copy()
    best = q.argmax(1)
    other = (best + 1) % 3
    q[np.arange(ROWS), other] = q[np.arange(ROWS), best] - 1e-6
    near = seen._replace(q=q)
    state = seen.next_state
    answers = iter(zip(other[:, None], q[:, None], state[:, None], strict=True))

    def run(arrays: Sequence[Array]) -> Sequence[Array]:
        rows = [next(answers) for _ in arrays[0]]
        return [np.concatenate(values) for values in zip(*rows, strict=True)]

    agreement = compare("model", run, policy, near)
    assert agreement.ties == ROWS
    assert agreement.largest == 0
