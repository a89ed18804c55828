"""Export of trained policies as files that run without this package."""
