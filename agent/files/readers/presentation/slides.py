"""The text of a .pptx: its slides in the order of the show, with notes and comments, and what stands behind them.

What stays true: each part is read by itself, so that one that is broken or missing costs no other; what has
several forms is read once.
"""

from collections.abc import Iterator
from typing import Any
from zipfile import BadZipFile

from agent.files.readers.office.package import Package
from agent.files.readers.office.properties import read_properties
from agent.files.readers.office.remarks import BROKEN, HIDDEN_SLIDES
from agent.files.readers.office.xml_names import attribute_of, first_named, iterate_named, local_name
from agent.files.readers.presentation.shapes import SlideShapes
from agent.files.readers.presentation.text import read_paragraphs
from agent.files.readers.sections import TextSections

_NO_SLIDES = "The presentation holds no text."
#: Kinds of masters: what stands on them beside the prompts is shown on their slides or printed pages.
_MASTERS = {
    "slideMaster": "Slide master",
    "slideLayout": "Layout",
    "notesMaster": "Notes master",
    "handoutMaster": "Handout master",
}


def read(content: bytes, sections: TextSections) -> dict[str, Any]:
    """Read a .pptx. Raises `Unreadable`, and `BadZipFile` where it is no archive."""
    return _Presentation(Package(content, sections), sections).read()


class _Presentation:
    """The reading of one presentation."""

    def __init__(self, package: Package, sections: TextSections) -> None:
        self._package = package
        self._sections = sections
        kinds = {each.kind: each.target for each in package.relationships_of("").values()}
        self._part = kinds.get("officeDocument", "ppt/presentation.xml")
        self._root = package.parse(self._part)
        self._relationships = package.relationships_of(self._part)
        self._authors = self._read_authors()

    def read(self) -> dict[str, Any]:
        """Read all there is."""
        slides = list(self._iterate_slides())
        if self._root is None and not slides:
            raise BadZipFile("no presentation")
        self._sections.add("", "\n".join(self._read_properties()))
        for number, (part, section) in enumerate(slides, start=1):
            if self._sections.is_over:
                return self._sections.result(goes_on=True)
            self._add_slide(number, part, section)
        lines = dict[str, None]()
        for label, part in self._iterate_masters(slides):
            shapes = SlideShapes(self._package, part, self._sections, is_master=True)
            lines |= dict.fromkeys(f"{label}: {line}" for line in shapes.read())
        self._sections.add("", "\n".join(lines))
        if self._package.damaged and not self._sections.is_late:
            self._sections.remark(BROKEN)
        result = self._sections.result(goes_on=self._sections.is_late)
        return result if result["text"] else result | {"problem": _NO_SLIDES}

    def _iterate_slides(self) -> Iterator[tuple[str, str]]:
        """The parts of slides in the order of the show, and the name of the section that each begins."""
        beginnings = {}
        for section in iterate_named(self._root, "section"):
            first = next(iterate_named(section, "sldId"), None)
            if first is not None:
                beginnings[attribute_of(first, "id")] = attribute_of(section, "name")
        listed = first_named(self._root, "sldIdLst")
        for entry in listed if listed is not None else ():
            relationship = self._relationships.get(_relationship_id(entry))
            yield relationship.target if relationship else "", beginnings.get(str(entry.get("id")), "")
        if listed is None:  # the list is missing, or broken
            names = [name for name in self._package.names if name.startswith("ppt/slides/slide")]
            yield from ((name, "") for name in sorted(names, key=lambda name: (len(name), name)))

    def _add_slide(self, number: int, part: str, section: str) -> None:
        root = self._package.parse(part)
        if root is None and self._sections.is_late:
            return
        if root is None:
            self._sections.remark(f"Slide {number} is missing in the file, or damaged.")
            self._sections.leave_out("unreadable slide")
            return
        lines = [f"Section: {section}"] if section else []
        lines += SlideShapes(self._package, part, self._sections).read()
        for relationship in self._package.relationships_of(part).values():
            if relationship.kind == "notesSlide":
                notes = SlideShapes(self._package, relationship.target, self._sections).read_notes()
                lines += [f"Notes: {line}" for line in notes]
            elif relationship.kind == "comments" or relationship.kind.startswith("modernComment"):
                lines += self._read_comments(relationship.target)
        is_hidden = root.get("show") in ("0", "false")
        if is_hidden:
            self._sections.remark(HIDDEN_SLIDES)
        self._sections.add(f"slide {number}{' (hidden)' if is_hidden else ''}", "\n".join(lines))

    def _read_authors(self) -> dict[str, str]:
        """The names of those who comment, by id."""
        authors = {}
        for relationship in self._relationships.values():
            if relationship.kind in ("commentAuthors", "authors"):
                for author in iterate_named(self._package.parse(relationship.target), "cmAuthor", "author"):
                    authors[attribute_of(author, "id")] = attribute_of(author, "name")
        return authors

    def _read_comments(self, part: str) -> list[str]:
        lines = []
        for comment in iterate_named(self._package.parse(part), "cm", "reply"):
            author = self._authors.get(attribute_of(comment, "authorId"), "")
            text = "\n".join(
                "".join(child.itertext()).strip()
                if local_name(child) == "text"
                else "\n".join(read_paragraphs(child, {}))
                for child in comment
                if local_name(child) in ("text", "txBody")
            )
            label = "Reply" if local_name(comment) == "reply" or _is_answer(comment) else "Comment"
            lines.append(f"{label}{f' by {author}' if author else ''}: {text}")
        return lines

    def _read_properties(self) -> list[str]:
        relationships = self._package.relationships_of("")
        lines = dict.fromkeys(read_properties(self._package, relationships))
        for show in iterate_named(self._root, "custShow"):
            lines[f"Custom show: {attribute_of(show, 'name')}"] = None
        return list(lines)

    def _iterate_masters(self, slides: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
        """The masters and layouts, each once, with what to call them."""
        pending, seen = [self._part, *(part for part, _ in slides)], set[str]()
        while pending:
            part = pending.pop(0)
            if part in seen:
                continue
            seen.add(part)
            for relationship in self._package.relationships_of(part).values():
                if relationship.kind in _MASTERS and relationship.target not in seen:
                    yield _MASTERS[relationship.kind], relationship.target
                    pending.append(relationship.target)


def _relationship_id(entry: Any) -> str:
    return next((str(value) for key, value in entry.attrib.items() if key.endswith("}id")), "")


def _is_answer(comment: Any) -> bool:
    return any(True for _ in iterate_named(comment, "parentCm"))
