"""One run, nested sizes: a student for every device tier inside the next larger one."""
