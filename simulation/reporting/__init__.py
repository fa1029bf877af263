"""Tables in the terminal, plots, and the self-contained HTML report."""
