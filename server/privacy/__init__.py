"""User-level differential privacy, the cloud's part: noise, clip norms, accounting, the ledger."""
