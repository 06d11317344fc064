"""Workbooks (.xlsx): cells as a person sees them, and what belongs to their sheets.

What stays true: nothing is computed; a value is the one that the last program stored.
"""
