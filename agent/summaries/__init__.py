"""Writing the summary of a conversation: the prompt, the sections, what must not be lost, the check.

What stays true: this package returns text and a report; storing them is the business of `store.summaries`.
"""
