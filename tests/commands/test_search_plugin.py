"""What every start of any Hydra application pays for the plugins."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = "torch", "optuna", "gymnasium", "numpy", "dqn_cli"


@pytest.mark.parametrize("plugin", ["dqn_train_search", "dqn_train_population"])
def test_a_plugin_imports_nothing_heavy(plugin: str) -> None:
    code = f"import hydra_plugins.{plugin}, sys; print(sorted({{*{HEAVY}}} & {{*sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
