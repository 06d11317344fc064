"""An OpenDocument presentation with a word in every place where one can stand.

What stays true: each part is written by hand, as LibreOffice writes it.
"""

import re

from tests.marked_files import MarkedFile, mark_of
from tests.unit.documents import ODF, packed

#: By the place, as in `MarkedFile`.
_PLACES = {
    "the title of the file": "",
    "its author": "",
    "its subject": "",
    "its description": "",
    "a keyword": "",
    "a property of one's own": "",
    "the name of a slide": "",
    "a title": "",
    "a paragraph": "",
    "a span": "",
    "an entry of a list": "",
    "an entry of a list below": "",
    "a custom shape": "",
    "a line": "",
    "text in a group": "",
    "a cell": "",
    "a merged cell": "",
    "the address of a link": "",
    "the link of a shape": "",
    "what is said of a picture": "",
    "the title of a picture": "",
    "the title of a chart": "",
    "the subtitle of a chart": "",
    "the title of an axis": "",
    "the name of a series": "",
    "a category": "",
    "a value": "",
    "a formula": "",
    "the label of a control": "",
    "notes": "",
    "a comment": "",
    "who commented": "",
    "a hidden slide": "",
    "a header": "",
    "a footer": "",
    "a date": "",
    "text of a master": "",
    "the name of a custom show": "",
    "a picture": "picture",
    "what a click opens": "",
    "an area of a picture": "",
    "an embedded object": "embedded object",
    "a macro": "macro",
    "a film": "video",
}

_PREFIX = "urn:oasis:names:tc:opendocument:xmlns"
_NAMES = {
    **{prefix: f"{_PREFIX}:{prefix}:1.0" for prefix in ("office", "text", "table", "presentation", "style", "meta")},
    "draw": f"{_PREFIX}:drawing:1.0",
    "svg": f"{_PREFIX}:svg-compatible:1.0",
    "form": f"{_PREFIX}:form:1.0",
    "chart": f"{_PREFIX}:chart:1.0",
    "dc": "http://purl.org/dc/elements/1.1/",
    "math": "http://www.w3.org/1998/Math/MathML",
    "xlink": "http://www.w3.org/1999/xlink",
}
_NAMESPACES = " ".join(f'xmlns:{prefix}="{name}"' for prefix, name in _NAMES.items())


def box(content: str, attributes: str = "") -> str:
    """A frame around a box of text."""
    return f"<draw:frame {attributes}><draw:text-box>{content}</draw:text-box></draw:frame>"


_LIST = (
    "<text:list><text:list-item><text:p>[an entry of a list]</text:p><text:list><text:list-item><text:p>"
    "[an entry of a list below]</text:p></text:list-item></text:list></text:list-item></text:list>"
)
_TABLE = (
    "<draw:frame><table:table><table:table-column/><table:table-row><table:table-cell><text:p>[a cell]</text:p>"
    '</table:table-cell></table:table-row><table:table-row><table:table-cell table:number-columns-spanned="2"><text:p>'
    "[a merged cell]</text:p></table:table-cell><table:covered-table-cell><text:p>covered</text:p>"
    '</table:covered-table-cell></table:table-row></table:table><draw:image xlink:href="Pictures/preview.svm"/></draw:frame>'
)
_BODY = f"""<presentation:header-decl presentation:name="h">[a header]</presentation:header-decl>
<presentation:footer-decl presentation:name="f">[a footer]</presentation:footer-decl>
<presentation:date-time-decl presentation:name="d" presentation:source="fixed">[a date]</presentation:date-time-decl>
<draw:page draw:name="[the name of a slide]" draw:style-name="dp1" presentation:use-footer-name="f">
<office:forms><form:form><form:button form:label="[the label of a control]"/></form:form></office:forms>
{box("<text:p>[a title]</text:p>", 'presentation:class="title"')}
{box("<text:p>[a paragraph]<text:s text:c='99999999'/><text:span>[a span]</text:span> <text:a xlink:href='https://example.org/[the address of a link]'>here</text:a></text:p>" + _LIST)}
<draw:custom-shape><text:p>[a custom shape]</text:p><office:event-listeners><presentation:event-listener
 xlink:href="https://example.org/[what a click opens]"/></office:event-listeners></draw:custom-shape>
<draw:line><text:p>[a line]</text:p></draw:line>
<draw:g><draw:g><draw:rect><text:p>[text in a group]</text:p></draw:rect></draw:g></draw:g>
<draw:a xlink:href="https://example.org/[the link of a shape]"><draw:rect/></draw:a>
{_TABLE}
<draw:frame><draw:image xlink:href="Pictures/1.png"/><svg:title>[the title of a picture]</svg:title>
<svg:desc>[what is said of a picture]</svg:desc><draw:image-map><draw:area-circle
 xlink:href="https://example.org/[an area of a picture]"/></draw:image-map></draw:frame>
<draw:frame><draw:object xlink:href="./Object 1"/><draw:image xlink:href="./ObjectReplacements/Object 1"/></draw:frame>
<draw:frame><draw:object xlink:href="./Object 2"/><draw:image xlink:href="./ObjectReplacements/Object 2"/></draw:frame>
<draw:frame><draw:object-ole xlink:href="./Object 3"/><draw:image xlink:href="./ObjectReplacements/Object 3"/></draw:frame>
<draw:frame><draw:plugin xlink:href="film.mp4"/></draw:frame>
<office:annotation><dc:creator>[who commented]</dc:creator><text:p>[a comment]</text:p></office:annotation>
<presentation:notes>{box("<text:p>[notes]</text:p>")}</presentation:notes></draw:page>
<draw:page draw:name="page2" draw:style-name="dp2">{box("<text:p>[a hidden slide]</text:p>")}</draw:page>
<presentation:settings><presentation:show presentation:name="[the name of a custom show]"/></presentation:settings>"""
_CHART = """<office:chart><chart:chart><chart:title><text:p>[the title of a chart]</text:p></chart:title>
<chart:subtitle><text:p>[the subtitle of a chart]</text:p></chart:subtitle><chart:plot-area><chart:axis><chart:title><text:p>
[the title of an axis]</text:p></chart:title></chart:axis></chart:plot-area><table:table><table:table-header-rows><table:table-row>
<table:table-cell><text:p/></table:table-cell><table:table-cell><text:p>[the name of a series]</text:p></table:table-cell>
</table:table-row></table:table-header-rows><table:table-rows><table:table-row><table:table-cell><text:p>[a category]</text:p>
</table:table-cell><table:table-cell><text:p>[a value]</text:p></table:table-cell></table:table-row></table:table-rows>
</table:table></chart:chart></office:chart>"""
_META = """<office:meta><dc:title>[the title of the file]</dc:title><meta:initial-creator>[its author]</meta:initial-creator>
<dc:subject>[its subject]</dc:subject><dc:description>[its description]</dc:description><meta:keyword>[a keyword]</meta:keyword>
<meta:user-defined meta:name="Project">[a property of one's own]</meta:user-defined></office:meta>"""
_MASTER = f"""<office:master-styles><style:master-page style:name="Default">
{box("<text:p>A prompt</text:p>", 'presentation:placeholder="true"')}
{box("<text:p>[text of a master]</text:p>")}</style:master-page></office:master-styles>"""
_STYLES = """<office:automatic-styles><style:style style:name="dp1"><style:drawing-page-properties presentation:visibility="visible"/>
</style:style><style:style style:name="dp2"><style:drawing-page-properties presentation:visibility="hidden"/></style:style>
</office:automatic-styles>"""
_FORMULA = "<math:semantics><math:mi>x</math:mi><math:annotation>[a formula]</math:annotation></math:semantics>"


def part(name: str, content: str) -> str:
    """A part with its root element."""
    return f"<?xml version='1.0'?><{name} {_NAMESPACES}>{content}</{name}>"


#: The parts, in which `[place]` is the word of that place.
PARTS = {
    "mimetype": f"{ODF}.presentation",
    "content.xml": part(
        "office:document-content",
        f"{_STYLES}<office:body><office:presentation>{_BODY}</office:presentation></office:body>",
    ),
    "styles.xml": part("office:document-styles", _MASTER),
    "meta.xml": part("office:document-meta", _META),
    "Object 1/content.xml": part("office:document-content", f"<office:body>{_CHART}</office:body>"),
    "Basic/Standard/Module1.xml": "<module>[a macro]</module>",
    "Object 2/content.xml": part("math:math", _FORMULA),
}


def build() -> MarkedFile:
    """Build the presentation."""
    parts = {
        name: re.sub(
            r"\[([a-z][^\]<>]+)\]", lambda match: mark_of(match[1]) if match[1] in _PLACES else match[0], content
        )
        for name, content in PARTS.items()
    }
    return MarkedFile(f"{ODF}.presentation", packed(parts, stored=("mimetype",)), _PLACES)
