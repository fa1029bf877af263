"""Ways to run the same two Flower apps: inline, simulated on Ray, and deployed."""
