"""Metrics of rankings: what is measured, how it adds up, and for whom."""
