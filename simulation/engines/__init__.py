"""Two ways to run the same two Flower apps: inline and `flwr run`."""
