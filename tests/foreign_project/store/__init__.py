"""The shop's app of that name."""
