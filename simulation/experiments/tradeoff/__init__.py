"""What privacy costs: the same training under one promise after another, in one table."""
