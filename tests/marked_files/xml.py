"""XML of no kind that a reader knows. What stays true: it is shown as it is, its markup too."""

from tests.marked_files import MarkedFile, mark_of

_PLACES = {
    "the text of an element": "", "an attribute": "", "a comment": "", "a processing instruction": "",
    "character data": "", "an entity": "", "the name of an element": "",
}  # fmt: skip


def build() -> MarkedFile:
    """Build the document."""
    text, attribute, comment, instruction, data, entity, name = map(mark_of, _PLACES)
    content = (
        f'<?xml version="1.0"?>\n<!DOCTYPE a [<!ENTITY e "{entity}">]>\n<?say {instruction}?>\n'
        f'<a b="{attribute}"><!-- {comment} --><{name}>{text}</{name}><![CDATA[{data}]]></a>\n'
    )
    return MarkedFile("text/xml", content.encode(), _PLACES)
