"""Report of sweeps: one page of answers, charts and tables, with their data."""
