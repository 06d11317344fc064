"""The way to a database: URL, engine, retries, column types, statements that travel together.

What stays true: nothing here knows a table.
"""
