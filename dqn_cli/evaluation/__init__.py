"""Evaluation: greedy episodes, statistics with intervals, tables, curves and videos."""
