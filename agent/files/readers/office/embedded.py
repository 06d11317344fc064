"""Files and media inside of documents, by what they are called where they are left out.

What stays true: the same thing is called the same in every format.
"""

from collections.abc import Mapping
from typing import Any

from agent.files.readers.office.xml_names import local_name

_BY_ENDING = {
    **dict.fromkeys(("xlsx", "xlsm", "xlsb", "xls", "ods"), "embedded workbook"),
    **dict.fromkeys(("docx", "docm", "doc", "odt", "rtf"), "embedded document"),
    **dict.fromkeys(("pptx", "pptm", "ppt", "odp", "sldx"), "embedded presentation"),
}
_BY_PROGRAM = {"Excel": "embedded workbook", "Word": "embedded document", "PowerPoint": "embedded presentation"}
#: By the element in the body of an OpenDocument file.
_BY_BODY = {"spreadsheet": "embedded workbook", "text": "embedded document", "presentation": "embedded presentation"}
#: What may be in a frame of an OpenDocument file, by the local name of its element.
IN_FRAMES: Mapping[str, str] = {
    "object-ole": "embedded object",
    "plugin": "video",
    "applet": "embedded object",
    "floating-frame": "linked document",
}


def find_kind(part: str, program: str = "") -> str:
    """Find what to call an object by the name of its part, else by its program, such as `Excel.Sheet.12`."""
    by_program = _BY_PROGRAM.get(program.partition(".")[0], "embedded object")
    return _BY_ENDING.get(part.rpartition(".")[2].lower(), by_program)


def find_kind_of_open(root: Any) -> str:
    """Find what to call an object of an OpenDocument file by its own document, which may be missing: None."""
    bodies = (each for each in root.iter() if local_name(each) == "body") if root is not None else ()
    kinds = (_BY_BODY.get(local_name(content)) for body in bodies for content in body)
    return next(filter(None, kinds), "embedded object")
