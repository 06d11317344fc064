"""The readers, one for each kind of file, which run in a child process: see `agent/files/extract_worker.py`.

A format that takes several modules has a package: `word`, `workbook`, `presentation`, `open_document`, `pdf`, `mail`,
`page`, `archives`; what the formats of office programs share is in `office`. Beside them stand the readers of one
module (`book`, `notebook`, `picture`, `rich_text`) and what all share: `sections`, `decode`, `attached`, `ocr`.

What stays true: nothing here is imported by the process that runs turns; no format's package imports another's.
"""
