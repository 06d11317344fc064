"""Branches: made, chosen, answered on and deleted, over what threads, turns and retention are."""
