"""Federated recommenders that people cite, run as published and without their leak."""
