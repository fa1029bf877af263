"""Floor 3: what the cloud does (cohorts, aggregation, server teacher, the ServerApp)."""
