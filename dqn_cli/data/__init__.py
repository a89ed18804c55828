"""Logged data: files of transitions, read and checked against an environment, and written."""
