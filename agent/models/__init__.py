"""Models behind one Protocol of two verbs, and what is the same for all of them: errors, backoff, tokens.

What stays true: litellm is imported with the first call of a model that needs it, not with this package.
"""
