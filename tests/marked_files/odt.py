"""An OpenDocument text with a word in every place where one can stand.

What stays true: a place is written in its XML as `«a footnote»` where its word has to be shown, and as
`«a deletion|deleted passage»` where it is named among what is left out, by the kind behind the bar.
"""

import re

from tests.marked_files import MarkedFile, mark_of
from tests.unit.documents import packed

MEDIA_TYPE = "application/vnd.oasis.opendocument.text"

_OPEN = "urn:oasis:names:tc:opendocument:xmlns"
NAMESPACES = " ".join([
    *(f'xmlns:{name}="{_OPEN}:{name}:1.0"' for name in ("office", "text", "table", "style", "chart", "form", "meta")),
    f'xmlns:draw="{_OPEN}:drawing:1.0" xmlns:svg="{_OPEN}:svg-compatible:1.0"',
    f'xmlns:fo="{_OPEN}:xsl-fo-compatible:1.0" xmlns:dr3d="{_OPEN}:dr3d:1.0"',
    'xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:dc="http://purl.org/dc/elements/1.1/"',
    'xmlns:xforms="http://www.w3.org/2002/xforms" xmlns:math="http://www.w3.org/1998/Math/MathML"',
])  # fmt: skip
_PLACE = re.compile(r"«([^|»]+)\|?([^»]*)»")


def paragraph(content: str, style: str = "") -> str:
    """A paragraph."""
    return f'<text:p text:style-name="{style}">{content}</text:p>'


def note(kind: str, content: str) -> str:
    """A footnote or endnote."""
    body = f"<text:note-body>{paragraph(content)}</text:note-body>"
    return f'<text:note text:note-class="{kind}"><text:note-citation>1</text:note-citation>{body}</text:note>'


def frame(content: str) -> str:
    """A frame."""
    return f"<draw:frame>{content}</draw:frame>"


def cell(content: str) -> str:
    """A cell of a table."""
    return f"<table:table-cell>{content}</table:table-cell>"


def row(*cells: str) -> str:
    """A row of a table."""
    return f"<table:table-row>{''.join(cells)}</table:table-row>"


def bullets(*entries: str) -> str:
    """A list."""
    items = "".join(f"<text:list-item>{entry}</text:list-item>" for entry in entries)
    return f'<text:list text:style-name="L1">{items}</text:list>'


def document(body: str, styles: str = "") -> str:
    """The part with the body of a document."""
    return _wrap(f"<office:text>{body}</office:text>", f"<office:automatic-styles>{styles}</office:automatic-styles>")


def _wrap(body: str, styles: str = "") -> str:
    return f"<office:document-content {NAMESPACES}>{styles}<office:body>{body}</office:body></office:document-content>"


_STYLES = (
    '<style:style style:name="Secret"><style:text-properties text:display="none"/></style:style>'
    '<text:list-style style:name="L1"><text:list-level-style-number text:level="1" style:num-format="1"'
    ' style:num-prefix="«the text of a list number»" style:num-suffix="."/></text:list-style>'
)
_COVERED = f"<table:covered-table-cell>{paragraph('«a covered cell|hidden passage»')}</table:covered-table-cell>"
_BLOCKS = "".join([
    '<office:forms><form:form><form:text form:name="«the name of a form field»" form:current-value="«its value»"/>',
    '<form:checkbox form:label="«the label of a check box»" form:current-state="checked"/>',
    f'<form:textarea form:name="a">{paragraph("«a form field of several lines»")}</form:textarea>',
    '<form:listbox form:name="b"><form:option form:label="«a choice of a form field»"/></form:listbox>',
    '<form:fixed-text form:label="«the text of a form»"/><form:hidden form:value="«a hidden field|hidden passage»"/>',
    "</form:form><xforms:model>«data of a form|data part»</xforms:model></office:forms>",
    "<text:tracked-changes><text:changed-region><text:deletion>", paragraph("«a deletion|deleted passage»"),
    "</text:deletion></text:changed-region></text:tracked-changes>",
    '<text:user-field-decls><text:user-field-decl office:string-value="«a user field|user field»"/>',
    "</text:user-field-decls>",
    '<text:h text:outline-level="2">«a heading»</text:h>',
    paragraph("«a paragraph»"),
    bullets(paragraph("«an entry of a list»") + bullets(paragraph("«an entry of a list in a list»"))),
    f"<text:section>{paragraph('«a section»')}</text:section>",
    f'<text:section text:display="none">{paragraph("«a hidden section|hidden passage»")}</text:section>',
    paragraph("«a hidden paragraph|hidden passage»", "Secret"),
    "<text:table-of-content><text:table-of-content-source/><text:index-body><text:index-title>",
    paragraph("«the title of an index»"), "</text:index-title>", paragraph("«an index»"),
    "</text:index-body></text:table-of-content>",
    "<table:table><table:title>«the title of a table»</table:title>",
    "<table:desc>«the description of a table»</table:desc>",
    f"<table:table-header-rows>{row(cell(paragraph('«a heading of a table»')))}</table:table-header-rows>",
    row(cell(paragraph("«a cell»") + bullets(paragraph("«a list in a cell»"))), _COVERED),
    row(cell(paragraph("«a hidden row|hidden passage»"))).replace("row>", 'row table:visibility="collapse">', 1),
    row(cell(f"<table:table>{row(cell(paragraph('«a cell of a nested table»')))}</table:table>")), "</table:table>",
    frame(f"<draw:text-box>{paragraph('«a text box between paragraphs»')}</draw:text-box>"),
])  # fmt: skip
_INLINE = "".join([
    "<text:span>«a span»</text:span><text:a xlink:href='https://«the address of a link».example'",
    " office:title='«a tooltip|link tooltip»'>«a link»</text:a>",
    note("footnote", "«a footnote»"), note("endnote", "«an endnote»"),
    "<office:annotation><dc:creator>«the author of a comment»</dc:creator>", paragraph("«a comment»"),
    "</office:annotation><text:change-start/>«an insertion»<text:change-end/>",
    "<text:span text:style-name='Secret'>«hidden text|hidden passage»</text:span>",
    "<text:hidden-text text:string-value='«a field of hidden text|hidden passage»'/>",
    "<text:conditional-text text:string-value-if-true='«another text|unchosen text»'>«a conditional text»",
    "</text:conditional-text>",
    "<text:drop-down><text:label text:value='«a choice|unchosen text»'/>«the chosen one»</text:drop-down>",
    "<text:date>«a field»</text:date><text:user-field-get>«a field of one's own»</text:user-field-get>",
    "<text:placeholder text:description='«its hint|form field hint»'>«a placeholder»</text:placeholder>",
    "<text:ruby><text:ruby-base>«a base»</text:ruby-base>",
    "<text:ruby-text>«its reading aid»</text:ruby-text></text:ruby>",
    "<text:alphabetical-index-mark text:string-value='«an index entry|index entry»'/>",
    "<text:bibliography-mark text:title='«a source|bibliography entry»'>«a reference»</text:bibliography-mark>",
    "<text:script>«a script|script»</text:script>",
])  # fmt: skip
_FRAMES = "".join([
    frame(f"<draw:text-box>{paragraph('«a text box»')}{bullets(paragraph('«a list in a text box»'))}</draw:text-box>"),
    frame("<draw:image><text:p>«text of a picture»</text:p></draw:image><svg:title>«the title of a picture»</svg:title>"
          "<svg:desc>«the description of a picture»</svg:desc>"),
    f"<draw:g><draw:custom-shape>{paragraph('«a shape in a group»')}</draw:custom-shape></draw:g>",
    f"<draw:rect><svg:desc>«the description of a shape»</svg:desc>{paragraph('«a rectangle»')}</draw:rect>",
    frame("<draw:object xlink:href='./Object 1'/><draw:image/>"),
    frame("<draw:object xlink:href='./Object 2'/>"),
    frame("<draw:object xlink:href='./Object 3'/>"),
])  # fmt: skip
_CHART = (
    "<office:chart><chart:chart><chart:title><text:p>«the title of a chart»</text:p></chart:title><chart:plot-area>"
    "<chart:axis><chart:title><text:p>«the title of an axis»</text:p></chart:title></chart:axis></chart:plot-area>"
    f"<table:table>{row(cell(''), cell(paragraph('«a series of a chart»')))}"
    f"{row(cell(paragraph('«a category of a chart»')), cell(paragraph('«a value of a chart»')))}"
    "</table:table></chart:chart></office:chart>"
)
_SHEET = f"<office:spreadsheet>{paragraph('«an embedded workbook|embedded workbook»')}</office:spreadsheet>"
_MASTERS = "".join(
    f"<style:{kind}{end}>{paragraph(f'«the {kind} of {pages}»')}</style:{kind}{end}>"
    for kind in ("header", "footer")
    for end, pages in {"": "all pages", "-left": "left pages", "-first": "the first page"}.items()
)
_META = (
    "<dc:title>«the title»</dc:title><dc:subject>«the subject»</dc:subject>"
    "<dc:description>«the remarks»</dc:description>"
    "<dc:creator>«who saved it last»</dc:creator>"
    "<meta:initial-creator>«the author»</meta:initial-creator><meta:keyword>«a keyword»</meta:keyword>"
    "<meta:user-defined>«a custom property»</meta:user-defined>"
)
_PARTS = {
    "mimetype": MEDIA_TYPE,
    "content.xml": document(f"{_BLOCKS}{paragraph(_INLINE)}{paragraph(_FRAMES)}", _STYLES),
    "styles.xml": f"<office:document-styles {NAMESPACES}><office:master-styles><style:master-page>{_MASTERS}"
    "</style:master-page></office:master-styles></office:document-styles>",
    "meta.xml": f"<office:document-meta {NAMESPACES}><office:meta>{_META}</office:meta></office:document-meta>",
    "Object 1/content.xml": _wrap(_CHART),
    "Object 2/content.xml": f"<math:math {NAMESPACES}><math:semantics><math:mi>a</math:mi>"
    "<math:annotation>«an equation»</math:annotation></math:semantics></math:math>",
    "Object 3/content.xml": _wrap(_SHEET),
    "Pictures/a.png": "«a picture|picture»",
    "Basic/Standard/Module1.xml": "<a>«a macro|macro»</a>",
    "extra.xml": "<a>«a part of a kind that is not known|unknown part»</a>",
}


def build() -> MarkedFile:
    """Build the document."""
    places: dict[str, str] = {}

    def mark(match: re.Match[str]) -> str:
        places[match[1]] = match[2]
        return mark_of(match[1])

    parts: dict[str, bytes | str] = {name: _PLACE.sub(mark, content) for name, content in _PARTS.items()}
    return MarkedFile(MEDIA_TYPE, packed(parts, stored=("mimetype",)), places)
