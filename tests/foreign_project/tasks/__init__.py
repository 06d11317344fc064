"""The shop's app of background jobs."""
