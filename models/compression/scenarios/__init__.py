"""Several tasks on one frozen encoder, each with a small adapter and head."""
