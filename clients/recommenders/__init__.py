"""What a phone does for the federated recommenders of `models.recommenders`."""
