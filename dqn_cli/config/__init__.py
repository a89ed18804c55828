"""Configuration: from what the user typed to parts that are ready to run, checked once."""
