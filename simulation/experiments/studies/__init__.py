"""Studies: one question each, answered over seeds and settings, with intervals, resumably."""
