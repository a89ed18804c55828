"""Machine code for updates; the algorithm reads without it."""
