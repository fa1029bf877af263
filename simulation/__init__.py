"""Floor 4: makes the world, runs experiments, draws reports, and the command line."""
