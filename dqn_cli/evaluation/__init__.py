"""Evaluation: greedy rollouts, statistics that say how sure they are, tables and pictures."""
