"""One script per claim. Timings are ratios, measured side by side in one run; they are no tests."""
