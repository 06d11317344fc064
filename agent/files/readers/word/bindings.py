"""The data that content controls of a Word document are bound to, which Word shows in the place of their content.

What stays true: a binding that leads nowhere leaves the content as it is.
"""

import re
from typing import Any

from agent.files.readers.office.package import Package
from agent.files.readers.office.xml_names import attribute_of, child_of, name_of

#: The ids that Word has for the properties of a document, by the kinds of their relationships.
_PROPERTIES = {
    "core-properties": "{6C3C8BC8-F283-45AE-878A-BAB7291924A1}",
    "extended-properties": "{6668398D-A668-4E3E-A5EB-62B293D839F1}",
}
#: Controls whose content is not the data itself.
_FORMATTED = ("w:dropDownList", "w:comboBox", "w:date", "w:picture", "w14:checkbox")
_MAPPING = re.compile(r"xmlns:([\w.-]+)\s*=\s*['\"]([^'\"]*)['\"]")


class Bindings:
    """The parts with data of one document, by their ids."""

    def __init__(self, package: Package, main: str) -> None:
        self._package = package
        self._main = main
        self._roots: dict[str, Any] | None = None

    def value_of(self, control: Any) -> str:
        """The data that a content control is bound to; "" where there is none."""
        properties = child_of(control, "w:sdtPr")
        binding = child_of(properties, "w:dataBinding") if properties is not None else None
        if binding is None or any(name_of(child) in _FORMATTED for child in properties):
            return ""
        if self._roots is None:
            self._roots = dict(self._find_roots())
        root = self._roots.get(attribute_of(binding, "storeItemID").upper())
        return "" if root is None else _look_up(root, binding)

    def _find_roots(self) -> list[tuple[str, Any]]:
        roots = []
        of_package, of_main = self._package.relationships_of(""), self._package.relationships_of(self._main)
        for relationship in [*of_package.values(), *of_main.values()]:
            if relationship.kind in _PROPERTIES:
                roots.append((_PROPERTIES[relationship.kind], self._package.parse(relationship.target)))
            elif relationship.kind == "customXml":
                for properties in self._package.relationships_of(relationship.target).values():
                    item = self._package.parse(properties.target) if properties.kind == "customXmlProps" else None
                    if item is not None:
                        name = attribute_of(item, "itemID").upper()
                        roots.append((name, self._package.parse(relationship.target)))
        return roots


def _look_up(root: Any, binding: Any) -> str:
    from lxml import etree

    mappings = dict(_MAPPING.findall(attribute_of(binding, "prefixMappings")))
    try:
        nodes = root.xpath(attribute_of(binding, "xpath"), namespaces=mappings)
    except (etree.XPathError, TypeError, ValueError):
        return ""
    node = nodes[0] if isinstance(nodes, list) and nodes else ""
    text = node if isinstance(node, str) else "".join(node.itertext()) if hasattr(node, "itertext") else ""
    return str(text).strip()
