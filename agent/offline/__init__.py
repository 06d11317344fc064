"""The built-in stand-in for a language model: lookups, tool calls on command, summaries.

What stays true: it is deterministic, and needs neither key nor network.
"""
