"""Runs: training sessions, their checkpoints, logs, terminal output and results."""
