from __future__ import annotations

import pytest
from test_combinations import Compose, check_conflict

# Words that are refused, what the message names, and words that each put it right.
REFUSED = [
    (
        "env.vectorization=native protocol=nature",
        ["env.vectorization=native", "games of ALE", "env.vectorization=sync"],
        ["env.vectorization=sync", "env.vectorization=async"],
    ),
    (
        "env.vectorization=native protocol=image",
        ["env.vectorization=native", "as they are", "protocol=none", "env.vectorization=sync"],
        ["env.vectorization=sync", "protocol=none"],
    ),
    (
        "env.vectorization=native env.preprocess.stack=2",
        ["env.vectorization=native", "as they are", "stack=1", "env.vectorization=sync"],
        ["env.vectorization=sync", "env.preprocess.stack=1"],
    ),
    (
        "env=Acrobot-v1 env.vectorization=native",
        ["env=Acrobot-v1 has no vector environment", "env.vectorization=sync", "module:make"],
        ["env.vectorization=sync"],
    ),
    (
        "env.vectorization=native env.mask=method",
        ["env.mask=method", "env.vectorization=sync"],
        ["env.vectorization=sync", "env.mask=info"],
    ),
    (
        "env.vectorization=native env.wrappers=[gymnasium.wrappers:TimeAwareObservation]",
        ["env.wrappers", "env.vectorization=native", "env.vectorization=sync"],
        ["env.vectorization=sync", "env.wrappers=[]"],
    ),
]


@pytest.mark.parametrize(("words", "named", "remedies"), REFUSED, ids=[row[0] for row in REFUSED])
def test_what_native_environments_lack_is_named_with_remedies(
    settings_of: Compose, words: str, named: list[str], remedies: list[str]
) -> None:
    check_conflict(settings_of, words, named, remedies)
