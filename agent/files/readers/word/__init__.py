"""Documents of Word (.docx): a body in pages, and all that stands around it.

What stays true: each part is read as a stream, so that a long document takes no more memory than a short one.
"""
