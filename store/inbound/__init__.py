"""Webhooks that come in: their sources, and finding the one that a request names."""
