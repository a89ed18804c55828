"""Training: the learner, the loop, and what a run writes down."""
