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
    "an embedded file": "embedded file",
    "a macro": "macro",
    "a dialog": "dialog",
    "a part of an unknown kind": "other part",
}
_NAMES = "urn:oasis:names:tc:opendocument:xmlns"
_PREFIXES = (
    *("office", "text", "table", "style", "meta", "chart", "form", "script"),
    *(("draw", "drawing"), ("fo", "xsl-fo-compatible"), ("svg", "svg-compatible")),
)
_SPACES = (
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
        "Basic/Standard/Module1.xml": f"<module>{_word('a macro')}</module>",
        "Dialogs/Standard/Dialog1.xml": f"<window>{_word('a dialog')}</window>",
        "Object 2/content.xml": f"<math>{_word('an embedded file')}</math>",
        "Something/new.xml": f"<x>{_word('a part of an unknown kind')}</x>",
    }
    return MarkedFile(f"{ODF}.spreadsheet", packed(parts, stored=("mimetype",)), _PLACES)


def _word(place: str) -> str:
    assert place in _PLACES
    return mark_of(place)


def _cell(text: str, attributes: str = "", tag: str = "table-cell") -> str:
    return f"<table:{tag} {attributes}><text:p>{text}</text:p></table:{tag}>"


def _row(*cells: str, attributes: str = "") -> str:
    return f"<table:table-row {attributes}>{''.join(cells)}</table:table-row>"


def _rows() -> str:
    """The rows of the first sheet."""
    comment = (
        f"<office:annotation><dc:creator>{_word('the author of a comment')}</dc:creator>"
        f"<text:p>{_word('a comment')}</text:p></office:annotation>"
    )
    rich = (
        f"<text:p>{_word('a cell')} <text:span>{_word('a part of a text with a style of its own')}</text:span></text:p>"
    )
    aid = f"<text:ruby><text:ruby-base>x</text:ruby-base><text:ruby-text>{_word('a text read aloud')}</text:ruby-text></text:ruby>"
    inner = f"<table:table>{_row(_cell(_word('a cell within a cell')))}</table:table>"
    box = f"<draw:frame><draw:text-box><text:p>{_word('a text box in a cell')}</text:p></draw:text-box></draw:frame>"
    link = f'<text:a xlink:href="https://example.com/{_word("the address of a link")}">link</text:a>'
    last = _cell(_word("the last cell of all"))
    rows = (
        _row(
            f"<table:table-cell>{comment}{rich}<text:p>{_word('a second paragraph of a cell')}</text:p></table:table-cell>",
            _cell(_word("a cell of a hidden column")),
            f'<table:table-cell office:value-type="string" office:string-value="{_word("a text without its own paragraph")}"/>',
            _cell(_word("a repeated cell"), 'table:number-columns-repeated="2"'),
            '<table:table-cell table:number-columns-repeated="16000"/>',
        ),
        _row(
            f"""<table:table-cell table:formula="of:=&quot;{_word("a formula without a value")}&quot;"/>""",
            _cell(
                _word("the result of a formula"),
                f"""office:value-type="string" table:formula="of:=&quot;{_word("a formula with a value")}&quot;" """,
            ),
            _cell(link),
            _cell(aid),
        ),
        _row(_cell(_word("a repeated row")), attributes='table:number-rows-repeated="2"'),
        _row(
            _cell(_word("a merged cell"), 'table:number-columns-spanned="2"'),
            _cell(_word("a cell that a merged one covers"), tag="covered-table-cell"),
        ),
        _row(_cell(_word("a cell of a hidden row")), attributes='table:visibility="collapse"'),
        f"<table:table-row-group>{_row(_cell(_word('a row of a group')))}</table:table-row-group>",
        _row(f"<table:table-cell>{inner}{box}</table:table-cell>"),
        _row("<table:table-cell/>", attributes='table:number-rows-repeated="1048000"'),
        _row('<table:table-cell table:number-columns-repeated="16383"/>', last),
    )
    return (
        f"<table:table-header-rows>{_row(_cell(_word('a row of a header')))}</table:table-header-rows>{''.join(rows)}"
    )


def _drawn() -> str:
    """What is drawn on the first sheet."""
    picture = (
        f'<draw:frame draw:name="{_word("the name of a picture")}"><draw:image xlink:href="Pictures/1.png"/>'
        f"<svg:desc>{_word('the alternative text of a picture')}</svg:desc></draw:frame>"
    )
    chart = (
        '<draw:frame><draw:object xlink:href="./Object 1"/><draw:image xlink:href="./ObjectReplacements/Object 1"/>'
        f"<svg:title>{_word('the alternative text of a chart')}</svg:title></draw:frame>"
    )
    group = f"<draw:g><draw:rect><text:p>{_word('a grouped shape')}</text:p></draw:rect></draw:g>"
    link = f'<draw:a xlink:href="https://example.com/{_word("the link of a shape")}"><draw:rect/></draw:a>'
    shape = f"<draw:custom-shape><text:p>{_word('a shape of a sheet')}</text:p></draw:custom-shape>"
    return f"<table:shapes>{shape}{group}{link}{picture}{chart}</table:shapes>"


def _content() -> str:
    styles = (
        '<office:automatic-styles><style:style style:name="ta2" style:family="table">'
        '<style:table-properties table:display="false"/></style:style></office:automatic-styles>'
    )
    validation = (
        f"""<table:content-validation table:condition="of:cell-content-is-in-list(&quot;{_word("a choice")}&quot;)">"""
        f"<table:help-message><text:p>{_word('a prompt for input')}</text:p></table:help-message>"
        f"<table:error-message><text:p>{_word('an error for wrong input')}</text:p></table:error-message>"
        "</table:content-validation>"
    )
    change = f"<table:deletion><office:change-info><text:p>{_word('a tracked change')}</text:p></office:change-info></table:deletion>"
    form = f'<office:forms><form:form><form:button form:label="{_word("a form control")}"/></form:form></office:forms>'
    condition = f'<calcext:condition calcext:value="{_word("a conditional format")}"/>'
    first = (
        f'<table:table table:name="{_word("the name of a sheet")}"><table:title>{_word("the title of a table")}</table:title>'
        f"{form}{_drawn()}<table:table-column/>"
        f'<table:table-column table:visibility="collapse"/><table:table-column table:number-columns-repeated="1000"/>{_rows()}'
        f"<calcext:conditional-formats><calcext:conditional-format>{condition}</calcext:conditional-format>"
        "</calcext:conditional-formats></table:table>"
    )
    second = (
        f'<table:table table:name="{_word("the name of a hidden sheet")}" table:style-name="ta2">'
        f'<table:scenario table:comment="{_word("a scenario")}"/>{_row(_cell(_word("a hidden sheet")))}</table:table>'
    )
    names = (
        f'<table:named-expressions><table:named-range table:name="{_word("a named range")}" '
        'table:cell-range-address="$A.$A$1"/><table:named-expression table:name="n" '
        f"""table:expression="&quot;{_word("the value of a named expression")}&quot;"/></table:named-expressions>"""
        f'<table:database-ranges><table:database-range table:name="{_word("a database range")}"><table:filter>'
        f'<table:filter-condition table:value="{_word("a filter")}"/></table:filter></table:database-range>'
        f'</table:database-ranges><table:data-pilot-tables><table:data-pilot-table table:name="{_word("a pivot table")}"/>'
        "</table:data-pilot-tables><table:dde-links><table:dde-link><table:table>"
        f"{_row(_cell(_word('a linked table')))}</table:table></table:dde-link></table:dde-links>"
    )
    body = (
        f"<table:tracked-changes>{change}</table:tracked-changes>"
        f"<table:content-validations>{validation}</table:content-validations>{first}{second}{names}"
    )
    return (
        f"<office:document-content {_SPACES}>{styles}<office:body><office:spreadsheet>{body}</office:spreadsheet>"
        "</office:body></office:document-content>"
    )


def _styles() -> str:
    return (
        f"<office:document-styles {_SPACES}><office:master-styles><style:master-page><style:header><style:region-left>"
        f"<text:p>{_word('a page header')}</text:p></style:region-left></style:header><style:footer><text:p>"
        f"{_word('a page footer')} <text:page-number>1</text:page-number></text:p></style:footer></style:master-page>"
        "<style:master-page><style:header><text:p><text:sheet-name>???</text:sheet-name></text:p></style:header>"
        "</style:master-page></office:master-styles></office:document-styles>"
    )


def _meta() -> str:
    return (
        f"<office:document-meta {_SPACES}><office:meta><dc:title>{_word('the title')}</dc:title>"
        f"<dc:subject>{_word('the subject')}</dc:subject><dc:description>{_word('the description')}</dc:description>"
        f"<meta:keyword>{_word('a keyword')}</meta:keyword><dc:creator>{_word('the author')}</dc:creator>"
        f"""<meta:user-defined meta:name="Own">{_word("a property of one's own")}</meta:user-defined>"""
        "</office:meta></office:document-meta>"
    )


def _chart() -> str:
    def row(*places: str) -> str:
        return _row(*(_cell(_word(place)) for place in places))

    return (
        f'<office:document-content {_SPACES}><office:body><office:chart><chart:chart chart:class="chart:bar">'
        f"<chart:title><text:p>{_word('the title of a chart')}</text:p></chart:title><chart:plot-area><chart:axis>"
        f"<chart:title><text:p>{_word('an axis of a chart')}</text:p></chart:title></chart:axis></chart:plot-area>"
        f"<table:table>{row('a category of a chart', 'a value of a chart')}</table:table></chart:chart></office:chart>"
        "</office:body></office:document-content>"
    )
