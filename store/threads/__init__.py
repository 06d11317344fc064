"""Threads as users know them: save and load, list, search, fork, export and import."""
