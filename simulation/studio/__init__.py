"""The local web page: a fleet, a rollout under one's hand, and a look into a phone."""
