"""Installing releases, with the power cut at every step."""
