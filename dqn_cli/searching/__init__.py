"""Hyperparameter search: spaces, the study, scores and pruning."""
