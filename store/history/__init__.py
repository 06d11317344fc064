"""Rows of messages in the order of `seq`: windows, ends of turns, visibility, counters."""
