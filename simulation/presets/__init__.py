"""Settings files: the one home of every number a run may change."""
