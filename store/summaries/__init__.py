"""Summaries of threads: which thread is due, the range that comes next, the rows of summaries.

What stays true: a summary covers messages and replaces none.
"""
