"""The text of DrawingML: paragraphs, runs, fields, links, formulas. What stays true: a paragraph is a line."""

from collections.abc import Iterator, Mapping
from typing import Any

from agent.files.readers.office.equation import linearize_equation
from agent.files.readers.office.package import Relationship
from agent.files.readers.office.xml_names import attribute_of, first_named, iterate_named, local_name

#: What is content without a text of its own.
_OBJECTS = ("chart", "relIds", "oleObj", "contentPart", "model3d")


def read_paragraphs(body: Any, relationships: Mapping[str, Relationship]) -> list[str]:
    """Read the paragraphs below an element that are not empty."""
    lines = (read_paragraph(paragraph, relationships).strip() for paragraph in iterate_named(body, "p"))
    return [line for line in lines if line]


def read_paragraph(paragraph: Any, relationships: Mapping[str, Relationship]) -> str:
    """Read a paragraph: its runs one after another, the addresses of links behind them."""
    return "".join(_iterate_pieces(paragraph, relationships))


def _iterate_pieces(element: Any, relationships: Mapping[str, Relationship]) -> Iterator[str]:
    for child in element:
        name = local_name(child)
        if name in ("r", "fld") and first_named(child, "t") is not None:
            text = "".join(first_named(child, "t").itertext())
            yield text
            link = first_named(child, "rPr", "hlinkClick")
            yield describe_link(link, relationships, text) if link is not None else ""
        elif name == "br":
            yield "\n"
        elif name == "tab":
            yield "\t"
        elif name == "oMath":
            yield linearize_equation(child)
        elif name == "AlternateContent":
            yield "".join(_iterate_pieces(choose_alternative(child), relationships))
        elif name not in ("pPr", "rPr", "endParaRPr"):
            yield from _iterate_pieces(child, relationships)


def describe_link(link: Any, relationships: Mapping[str, Relationship], text: str) -> str:
    """The address that a link leads to, and its hint, behind its text; "" where the text says so."""
    relationship = relationships.get(attribute_of(link, "id"))
    address = relationship.target if relationship and relationship.is_external else ""
    facts = [fact for fact in (address, attribute_of(link, "tooltip")) if fact and fact not in text]
    return f" ({', '.join(facts)})" if facts else ""


def choose_alternative(element: Any) -> Any:
    """The one of several forms of the same content that has any: the newest such."""
    forms = [child for child in element if local_name(child) in ("Choice", "Fallback")]
    return next(filter(_has_content, forms), forms[0] if forms else element)


def _has_content(form: Any) -> bool:
    return any(local_name(each) != "t" or (each.text or "").strip() for each in iterate_named(form, "t", *_OBJECTS))
