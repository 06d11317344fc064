"""An OpenDocument workbook with a word in every place where one can stand.

What stays true: its parts are named as LibreOffice names them.
"""

from tests.marked_files import MarkedFile, mark_of
from tests.unit.documents import ODF, packed

_PLACES = {
    "a cell": "",
    "a second paragraph of a cell": "",
    "a part of a text with a style of its own": "",
    "a text without its own paragraph": "",
    "a formula without a value": "",
    "a formula with a value": "formula",
    "the result of a formula": "",
    "a repeated cell": "",
    "a repeated row": "",
    "a merged cell": "",
    "a cell that a merged one covers": "",
    "a cell of a hidden row": "",
    "a cell of a hidden column": "",
    "a row of a header": "",
    "a row of a group": "",
    "a cell within a cell": "",
    "the last cell of all": "",
    "the address of a link": "",
    "a comment": "",
    "the author of a comment": "",
    "the name of a sheet": "",
    "the name of a hidden sheet": "",
    "a hidden sheet": "",
    "the title of a table": "",
    "a text box in a cell": "",
    "a shape of a sheet": "",
    "a grouped shape": "",
    "the link of a shape": "",
    "the alternative text of a picture": "",
    "the name of a picture": "",
    "a form control": "",
    "the title of a chart": "",
    "an axis of a chart": "",
    "a category of a chart": "",
    "a value of a chart": "",
    "the alternative text of a chart": "",
    "a choice": "",
    "a prompt for input": "",
    "an error for wrong input": "",
    "a named range": "",
    "the value of a named expression": "",
    "a database range": "",
    "a page header": "",
    "a page footer": "",
    "a scenario": "",
    "the title": "",
    "the subject": "",
    "the description": "",
    "a keyword": "",
    "the author": "",
    "a property of one's own": "",
    "a text read aloud": "phonetic text",
    "a conditional format": "conditional format",
    "a filter": "filter",
    "a tracked change": "tracked change",
    "a pivot table": "pivot table",
    "a linked table": "external link",
    "an embedded file": "embedded object",
    "a macro": "macro",
    "a dialog": "dialog",
    "a part of an unknown kind": "unknown part",
}
_NAMES = "urn:oasis:names:tc:opendocument:xmlns"
_PREFIXES = (
    *("office", "text", "table", "style", "meta", "chart", "form", "script"),
    *(("draw", "drawing"), ("fo", "xsl-fo-compatible"), ("svg", "svg-compatible")),
)
_NS = (
    " ".join(
        f'xmlns:{name[0]}="{_NAMES}:{name[1]}:1.0"'
        if isinstance(name, tuple)
        else f'xmlns:{name}="{_NAMES}:{name}:1.0"'
        for name in _PREFIXES
    )
    + ' xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:dc="http://purl.org/dc/elements/1.1/"'
    + ' xmlns:calcext="urn:org:documentfoundation:names:experimental:calc:xmlns:calcext:1.0"'
)


def build() -> MarkedFile:
    """Build the workbook."""
    parts = {
        "mimetype": f"{ODF}.spreadsheet",
        "META-INF/manifest.xml": "<manifest/>",
        "content.xml": _content(),
        "styles.xml": _styles(),
        "meta.xml": _meta(),
        "Object 1/content.xml": _chart(),
        "Pictures/1.png": "no picture",
        "Basic/Standard/Module1.xml": f"<module>{word('a macro')}</module>",
        "Dialogs/Standard/Dialog1.xml": f"<window>{word('a dialog')}</window>",
        "Object 2/content.xml": f"<math>{word('an embedded file')}</math>",
        "Something/new.xml": f"<x>{word('a part of an unknown kind')}</x>",
    }
    return MarkedFile(f"{ODF}.spreadsheet", packed(parts, stored=("mimetype",)), _PLACES)


def word(place: str) -> str:
    assert place in _PLACES
    return mark_of(place)


def _cell(text: str, attributes: str = "", tag: str = "table-cell") -> str:
    return f"<table:{tag} {attributes}><text:p>{text}</text:p></table:{tag}>"


def _row(*cells: str, attributes: str = "") -> str:
    return f"<table:table-row {attributes}>{''.join(cells)}</table:table-row>"


def _rows() -> str:
    """The rows of the first sheet."""
    comment = (
        f"<office:annotation><dc:creator>{word('the author of a comment')}</dc:creator>"
        f"<text:p>{word('a comment')}</text:p></office:annotation>"
    )
    rich = (
        f"<text:p>{word('a cell')} <text:span>{word('a part of a text with a style of its own')}</text:span></text:p>"
    )
    aid = (
        f"<text:ruby><text:ruby-base>x</text:ruby-base><text:ruby-text>{word('a text read aloud')}"
        f"</text:ruby-text></text:ruby>"
    )
    inner = f"<table:table>{_row(_cell(word('a cell within a cell')))}</table:table>"
    box = f"<draw:frame><draw:text-box><text:p>{word('a text box in a cell')}</text:p></draw:text-box></draw:frame>"
    link = f'<text:a xlink:href="https://example.com/{word("the address of a link")}">link</text:a>'
    string = f'office:value-type="string" office:string-value="{word("a text without its own paragraph")}"'
    last = _cell(word("the last cell of all"))
    rows = (
        _row(
            f"<table:table-cell>{comment}{rich}<text:p>{word('a second paragraph of a cell')}</text:p>"
            f"</table:table-cell>",
            _cell(word("a cell of a hidden column")),
            f"<table:table-cell {string}/>",
            _cell(word("a repeated cell"), 'table:number-columns-repeated="2"'),
            '<table:table-cell table:number-columns-repeated="16000"/>',
        ),
        _row(
            f"""<table:table-cell table:formula="of:=&quot;{word("a formula without a value")}&quot;"/>""",
            _cell(
                word("the result of a formula"),
                f"""office:value-type="string" table:formula="of:=&quot;{word("a formula with a value")}&quot;" """,
            ),
            _cell(link),
            _cell(aid),
        ),
        _row(_cell(word("a repeated row")), attributes='table:number-rows-repeated="2"'),
        _row(
            _cell(word("a merged cell"), 'table:number-columns-spanned="2"'),
            _cell(word("a cell that a merged one covers"), tag="covered-table-cell"),
        ),
        _row(_cell(word("a cell of a hidden row")), attributes='table:visibility="collapse"'),
        f"<table:table-row-group>{_row(_cell(word('a row of a group')))}</table:table-row-group>",
        _row(f"<table:table-cell>{inner}{box}</table:table-cell>"),
        _row("<table:table-cell/>", attributes='table:number-rows-repeated="1048000"'),
        _row('<table:table-cell table:number-columns-repeated="16383"/>', last),
    )
    return f"<table:table-header-rows>{_row(_cell(word('a row of a header')))}</table:table-header-rows>{''.join(rows)}"


def _drawn() -> str:
    """What is drawn on the first sheet."""
    picture = (
        f'<draw:frame draw:name="{word("the name of a picture")}"><draw:image xlink:href="Pictures/1.png"/>'
        f"<svg:desc>{word('the alternative text of a picture')}</svg:desc></draw:frame>"
    )
    chart = (
        '<draw:frame><draw:object xlink:href="./Object 1"><loext:p/></draw:object><draw:image xlink:href="./ObjectReplacements/Object 1"/>'
        f"<svg:title>{word('the alternative text of a chart')}</svg:title></draw:frame>"
    )
    group = f"<draw:g><draw:rect><text:p>{word('a grouped shape')}</text:p></draw:rect></draw:g>"
    link = f'<draw:a xlink:href="https://example.com/{word("the link of a shape")}"><draw:rect/></draw:a>'
    shape = f"<draw:custom-shape><text:p>{word('a shape of a sheet')}</text:p></draw:custom-shape>"
    return f"<table:shapes>{shape}{group}{link}{picture}{chart}</table:shapes>"


def _content() -> str:
    styles = (
        '<office:automatic-styles><style:style style:name="ta2" style:family="table">'
        '<style:table-properties table:display="false"/></style:style></office:automatic-styles>'
    )
    validation = (
        f"""<table:content-validation table:condition="of:cell-content-is-in-list(&quot;{word("a choice")}&quot;)">"""
        f"<table:help-message><text:p>{word('a prompt for input')}</text:p></table:help-message>"
        f"<table:error-message><text:p>{word('an error for wrong input')}</text:p></table:error-message>"
        "</table:content-validation>"
    )
    change = (
        f"<table:deletion><office:change-info><text:p>{word('a tracked change')}</text:p>"
        f"</office:change-info></table:deletion>"
    )
    form = f'<office:forms><form:form><form:button form:label="{word("a form control")}"/></form:form></office:forms>'
    condition = f'<calcext:condition calcext:value="{word("a conditional format")}"/>'
    first = (
        f'<table:table table:name="{word("the name of a sheet")}"><table:title>{word("the title of a table")}'
        f"</table:title>"
        f"{form}{_drawn()}<table:table-column/>"
        f'<table:table-column table:visibility="collapse"/>'
        f'<table:table-column table:number-columns-repeated="1000"/>{_rows()}'
        f"<calcext:conditional-formats><calcext:conditional-format>{condition}</calcext:conditional-format>"
        "</calcext:conditional-formats></table:table>"
    )
    second = (
        f'<table:table table:name="{word("the name of a hidden sheet")}" table:style-name="ta2">'
        f'<table:scenario table:comment="{word("a scenario")}"/>{_row(_cell(word("a hidden sheet")))}</table:table>'
    )
    names = (
        f'<table:named-expressions><table:named-range table:name="{word("a named range")}" '
        'table:cell-range-address="$A.$A$1"/><table:named-expression table:name="n" '
        f"""table:expression="&quot;{word("the value of a named expression")}&quot;"/></table:named-expressions>"""
        f'<table:database-ranges><table:database-range table:name="{word("a database range")}"><table:filter>'
        f'<table:filter-condition table:value="{word("a filter")}"/></table:filter></table:database-range>'
        f"</table:database-ranges><table:data-pilot-tables>"
        f'<table:data-pilot-table table:name="{word("a pivot table")}"/>'
        "</table:data-pilot-tables><table:dde-links><table:dde-link><table:table>"
        f"{_row(_cell(word('a linked table')))}</table:table></table:dde-link></table:dde-links>"
    )
    body = (
        f"<table:tracked-changes>{change}</table:tracked-changes>"
        f"<table:content-validations>{validation}</table:content-validations>{first}{second}{names}"
    )
    return (
        f"<office:document-content {_NS}>{styles}<office:body><office:spreadsheet>{body}</office:spreadsheet>"
        "</office:body></office:document-content>"
    )


def _styles() -> str:
    return (
        f"<office:document-styles {_NS}><office:master-styles><style:master-page><style:header><style:region-left>"
        f"<text:p>{word('a page header')}</text:p></style:region-left></style:header><style:footer><text:p>"
        f"{word('a page footer')} <text:page-number>1</text:page-number></text:p></style:footer></style:master-page>"
        "<style:master-page><style:header><text:p><text:sheet-name>???</text:sheet-name></text:p></style:header>"
        "</style:master-page></office:master-styles></office:document-styles>"
    )


def _meta() -> str:
    return (
        f"<office:document-meta {_NS}><office:meta><dc:title>{word('the title')}</dc:title>"
        f"<dc:subject>{word('the subject')}</dc:subject><dc:description>{word('the description')}</dc:description>"
        f"<meta:keyword>{word('a keyword')}</meta:keyword><dc:creator>{word('the author')}</dc:creator>"
        f"""<meta:user-defined meta:name="Own">{word("a property of one's own")}</meta:user-defined>"""
        "</office:meta></office:document-meta>"
    )


def _chart() -> str:
    def row(*places: str) -> str:
        return _row(*(_cell(word(place)) for place in places))

    return (
        f'<office:document-content {_NS}><office:body><office:chart><chart:chart chart:class="chart:bar">'
        f"<chart:title><text:p>{word('the title of a chart')}</text:p></chart:title><chart:plot-area><chart:axis>"
        f"<chart:title><text:p>{word('an axis of a chart')}</text:p></chart:title></chart:axis></chart:plot-area>"
        f"<table:table>{row('a category of a chart', 'a value of a chart')}</table:table></chart:chart></office:chart>"
        "</office:body></office:document-content>"
    )
