"""Configuration: from the command line to checked settings."""
