"""PDF: pages, form, annotations, and what the file says of itself.

What stays true: a file that crashes PDFium is read once more without it.
"""
