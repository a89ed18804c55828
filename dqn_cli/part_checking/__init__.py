"""A check of one part alone: in every way in which a run calls it."""
