"""The doors: what people type."""
