"""Federated recommenders that people cite, one file each; `methods` chooses among them."""
