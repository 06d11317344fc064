"""Pages of HTML, wherever they come from: a file, a mail, a chapter of a book, a cell of a notebook.

What stays true: no script runs, and nothing that a page points to is fetched.
"""
