"""The notebooks in docs/."""
