"""The window in front of a model that takes no more: how large a request is, and fitting it.

What stays true: nothing here does I/O or changes a stored message.
"""
