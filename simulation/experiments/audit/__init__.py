"""Attacks on what leaves a phone, run for real, each beside guessing and beside its protection."""
