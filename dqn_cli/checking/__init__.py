"""Inspection of an environment before training: what is seen, what is wrong, what to change."""
