"""One small federated job, done by the product and by its peers, side by side."""
