"""Statistics of experiments, beside references and by simulation."""
