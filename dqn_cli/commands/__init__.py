"""Commands that people type: dqn-train, dqn-eval and dqn-plot."""
