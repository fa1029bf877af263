"""Rollouts tried on the virtual fleet."""
