"""Statistics of experiments on phones, from sums alone: no device is ever listed."""
