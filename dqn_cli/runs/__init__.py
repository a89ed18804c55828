"""A run: what it keeps, shows and reports, from its first step to its end."""
