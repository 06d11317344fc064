"""OpenDocument: texts (.odt), sheets (.ods) and slides (.odp).

What stays true: the three are told apart by their type, and share how a ZIP archive and its XML are read (`office/`).
"""
