"""The verbs of the `pocketfleet` command, one module each."""
