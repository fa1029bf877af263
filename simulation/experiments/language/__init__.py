"""Labelled sets: cells of the tables, their workbench, and tasks of a user's own."""
