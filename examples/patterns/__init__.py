"""Patterns of conversations, each a program: python -m examples.patterns.user_threads."""
