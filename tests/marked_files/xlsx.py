"""A workbook with a word in every place where one can stand, part by part.

What stays true: its parts refer to each other as those of Excel do, so that a place is reached as in a file of Excel's.
"""

from collections.abc import Mapping

from tests.marked_files import MarkedFile, mark_of
from tests.unit.documents import OOXML, packed

_PLACES = {
    "a shared string": "",
    "a run of rich text": "",
    "a string in its cell": "",
    "the result of a formula": "",
    "a formula without a value": "",
    "a formula with a value": "formula",
    "an error": "",
    "a literal of a number format": "",
    "a text around a text": "",
    "a merged cell": "",
    "a cell that a merged one covers": "",
    "a cell of a hidden row": "",
    "a cell of a hidden column": "",
    "the last cell of all": "",
    "the name of a sheet": "",
    "a hidden sheet": "",
    "a very hidden sheet": "",
    "the name of a hidden sheet": "",
    "the name of a chart sheet": "",
    "a macro sheet": "",
    "a dialog sheet": "",
    "a comment": "",
    "the author of a comment": "",
    "a threaded comment": "",
    "a reply": "",
    "the author of a threaded comment": "",
    "the address of a link": "",
    "the place of a link": "",
    "the tip of a link": "",
    "the text of a link": "",
    "a choice": "",
    "a prompt for input": "",
    "an error for wrong input": "",
    "a choice of newer programs": "",
    "the name of a table": "",
    "the column of a table": "",
    "the name of a pivot table": "",
    "a page header": "",
    "a page footer": "",
    "a header of the first page": "",
    "a footer of even pages": "",
    "a text box": "",
    "a grouped shape": "",
    "the alternative text of a shape": "",
    "the link of a shape": "",
    "a button of old times": "",
    "the alternative text of a form control": "",
    "the alternative text of a picture": "",
    "the name of a picture": "",
    "a diagram": "",
    "the title of a chart": "",
    "the axis of a chart": "",
    "the series of a chart": "",
    "the category of a chart": "",
    "the value of a chart": "",
    "the label of a chart": "",
    "the trend line of a chart": "",
    "a shape on a chart": "",
    "the alternative text of a chart": "",
    "the title of a new chart": "",
    "the category of a new chart": "",
    "a title on a chart sheet": "",
    "a defined name": "",
    "the value of a defined name": "",
    "the comment of a defined name": "",
    "the title": "",
    "the subject": "",
    "the description": "",
    "the keywords": "",
    "the author": "",
    "the company": "",
    "the own of a property of one": "",
    "a text read aloud": "phonetic text",
    "a conditional format": "conditional format",
    "a filter": "filter",
    "a scenario": "scenario",
    "a protected range": "protected range",
    "a custom view": "custom view",
    "an embedded file": "embedded object",
    "a form control": "form control",
    "an external link": "external link",
    "a pivot cache": "pivot cache",
    "a slicer": "slicer",
    "a query table": "query table",
    "a data connection": "data connection",
    "a custom XML part": "custom XML part",
    "an XML map": "XML map",
    "a change log": "change log",
    "a rich value": "rich value",
    "a part of an unknown kind": "unknown part",
}
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_MICROSOFT = "http://schemas.microsoft.com/office"
_DRAWING = "http://schemas.openxmlformats.org/drawingml/2006"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_PACKAGE_TYPE = "application/vnd.openxmlformats-package.relationships+xml"
_NS = (
    f'xmlns="{_MAIN}" xmlns:r="{_OFFICE}" xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006" '
    f'xmlns:a="{_DRAWING}/main" xmlns:c="{_DRAWING}/chart" xmlns:xdr="{_DRAWING}/spreadsheetDrawing" '
    f'xmlns:dgm="{_DRAWING}/diagram" xmlns:cx="{_MICROSOFT}/drawing/2014/chartex" '
    f'xmlns:xm="{_MICROSOFT}/excel/2006/main" '
    f'xmlns:x14="{_MICROSOFT}/spreadsheetml/2009/9/main" xmlns:v="urn:schemas-microsoft-com:vml" '
    'xmlns:x="urn:schemas-microsoft-com:office:excel" xmlns:dc="http://purl.org/dc/elements/1.1/"'
)


def build() -> MarkedFile:
    """Build the workbook."""
    parts = {**_workbook_parts(), **_sheet_parts(), **_drawing_parts(), **_other_parts()}
    content = packed({"[Content_Types].xml": _content_types(), **parts})
    return MarkedFile(f"{OOXML}.spreadsheetml.sheet", content, _PLACES)


def word(place: str) -> str:
    assert place in _PLACES
    return mark_of(place)


def _content_types() -> str:
    """The types of the parts that other readers ask for, so that they can be tried on the same file."""
    main = {
        "/xl/workbook.xml": "sheet.main",
        **{f"/xl/worksheets/sheet{n}.xml": "worksheet" for n in (1, 2, 3)},
        "/xl/chartsheets/sheet1.xml": "chartsheet",
        "/xl/sharedStrings.xml": "sharedStrings",
        "/xl/styles.xml": "styles",
        "/xl/comments1.xml": "comments",
    }
    overrides = "".join(
        f'<Override PartName="{name}" ContentType="{OOXML}.spreadsheetml.{kind}+xml"/>' for name, kind in main.items()
    )
    defaults = (
        f'<Default Extension="rels" ContentType="{_PACKAGE_TYPE}"/><Default Extension="xml" ContentType="text/xml"/>'
    )
    return f'<Types xmlns="{_PACKAGE}/content-types">{defaults}{overrides}</Types>'


def _links(*links: tuple[str, str], external: Mapping[str, str] | None = None) -> str:
    """The references of a part, with ids from r1 on; `external` ones have ids of their own."""
    inside = "".join(
        f'<Relationship Id="r{n}" Type="{_OFFICE}/{kind}" Target="{target}"/>'
        for n, (kind, target) in enumerate(links, 1)
    )
    outside = "".join(
        f'<Relationship Id="{name}" Type="{_OFFICE}/hyperlink" Target="{target}" TargetMode="External"/>'
        for name, target in (external or {}).items()
    )
    return f'<Relationships xmlns="{_PACKAGE}/relationships">{inside}{outside}</Relationships>'


def _workbook_parts() -> dict[str, str]:
    sheets = (
        f'<sheet name="{word("the name of a sheet")}" sheetId="1" r:id="r1"/>'
        f'<sheet name="{word("the name of a hidden sheet")}" sheetId="2" state="hidden" r:id="r2"/>'
        '<sheet name="Very hidden" sheetId="3" state="veryHidden" r:id="r3"/>'
        f'<sheet name="{word("the name of a chart sheet")}" sheetId="4" r:id="r4"/>'
        '<sheet name="Macros" sheetId="5" r:id="r5"/><sheet name="Dialog" sheetId="6" r:id="r6"/>'
    )
    names = (
        f'<definedName name="{word("a defined name")}" comment="{word("the comment of a defined name")}">'
        f'"{word("the value of a defined name")}"</definedName>'
    )
    strings = (
        f"<si><t>{word('a shared string')}</t></si>"
        f"<si><r><t>{word('a run of rich text')}</t></r><rPh><t>{word('a text read aloud')}</t></rPh></si>"
    )
    formats = (
        f"""<numFmts><numFmt numFmtId="164" formatCode="0&quot;{word("a literal of a number format")}&quot;"/>"""
        f"""<numFmt numFmtId="165" formatCode="0;0;0;&quot;{word("a text around a text")}&quot;@"/></numFmts>"""
        '<cellXfs><xf numFmtId="0"/><xf numFmtId="164"/><xf numFmtId="165"/></cellXfs>'
    )
    return {
        "_rels/.rels": _links(
            ("officeDocument", "xl/workbook.xml"),
            ("core-properties", "docProps/core.xml"),
            ("extended-properties", "docProps/app.xml"),
            ("custom-properties", "docProps/custom.xml"),
        ),
        "xl/workbook.xml": f"<workbook {_NS}><sheets>{sheets}</sheets><definedNames>{names}</definedNames></workbook>",
        "xl/_rels/workbook.xml.rels": _links(
            *(("worksheet", f"worksheets/sheet{n}.xml") for n in (1, 2, 3)),
            ("chartsheet", "chartsheets/sheet1.xml"),
            ("xlMacrosheet", "macrosheets/sheet1.xml"),
            ("dialogsheet", "dialogsheets/sheet1.xml"),
            ("sharedStrings", "sharedStrings.xml"),
            ("styles", "styles.xml"),
            ("person", "persons/person.xml"),
        ),
        "xl/sharedStrings.xml": f"<sst {_NS}>{strings}</sst>",
        "xl/styles.xml": f"<styleSheet {_NS}>{formats}</styleSheet>",
        "xl/persons/person.xml": f"<personList>"
        f'<person id="p1" displayName="{word("the author of a threaded comment")}"/></personList>',
        "docProps/core.xml": f"<coreProperties {_NS}><dc:title>{word('the title')}</dc:title>"
        f"<dc:subject>{word('the subject')}</dc:subject><dc:description>{word('the description')}</dc:description>"
        f"<keywords>{word('the keywords')}</keywords><dc:creator>{word('the author')}</dc:creator></coreProperties>",
        "docProps/app.xml": f"<Properties><Company>{word('the company')}</Company></Properties>",
        "docProps/custom.xml": f'<Properties><property name="Own"><lpwstr>{word("the own of a property of one")}'
        f"</lpwstr>"
        "</property></Properties>",
    }


def _text_cell(reference: str, text: str) -> str:
    return f'<c r="{reference}" t="inlineStr"><is><t>{text}</t></is></c>'


def _rows() -> str:
    """The rows of the first sheet."""
    return (
        '<row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1" t="s"><v>1</v></c>'
        f"{_text_cell('C1', word('a string in its cell'))}{_text_cell('D1', word('a cell of a hidden column'))}</row>"
        f'<row r="2"><c r="A2" t="str"><f>"{word("a formula with a value")}"</f><v>'
        f"{word('the result of a formula')}</v></c>"
        f'<c r="B2"><f>"{word("a formula without a value")}"</f><v/></c>'
        f'<c r="C2" t="e"><v>#{word("an error")}!</v></c><c r="E2" t="e" vm="1"><v>#VALUE!</v></c></row>'
        f'<row r="3"><c r="A3" s="1"><v>5</v></c><c r="B3" s="2" t="inlineStr"><is><t>x</t></is></c></row>'
        f"<row r='4'>{_text_cell('A4', word('a merged cell'))}"
        f"{_text_cell('B4', word('a cell that a merged one covers'))}</row>"
        f"<row r='5' hidden='1'>{_text_cell('A5', word('a cell of a hidden row'))}</row>"
        f"<row r='1048576'>{_text_cell('XFD1048576', word('the last cell of all'))}</row>"
    )


def _first_sheet() -> str:
    around = (
        f'<protectedRanges><protectedRange name="{word("a protected range")}" sqref="A1"/></protectedRanges>'
        f'<scenarios><scenario name="{word("a scenario")}"/></scenarios>'
        f'<autoFilter ref="A1:B9"><filterColumn colId="0"><filters><filter val="{word("a filter")}"/></filters>'
        f'</filterColumn></autoFilter><customSheetViews><customSheetView guid="x"><headerFooter><oddHeader>'
        f"{word('a custom view')}</oddHeader></headerFooter></customSheetView></customSheetViews>"
        '<mergeCells><mergeCell ref="A4:B4"/></mergeCells>'
        f'<conditionalFormatting sqref="A1"><cfRule text="{word("a conditional format")}"/></conditionalFormatting>'
    )
    validations = (
        f'<dataValidations><dataValidation type="list" sqref="B2:B9" prompt="{word("a prompt for input")}" '
        f'error="{word("an error for wrong input")}"><formula1>"{word("a choice")},No"</formula1></dataValidation>'
        f'</dataValidations><hyperlinks><hyperlink ref="A1" r:id="web" location="{word("the place of a link")}" '
        f'tooltip="{word("the tip of a link")}" display="{word("the text of a link")}"/></hyperlinks>'
    )
    page = (
        f'<headerFooter><oddHeader>&amp;L&amp;"Arial,Bold"&amp;12{word("a page header")}</oddHeader>'
        f"<oddFooter>&amp;C{word('a page footer')}&amp;P</oddFooter><evenFooter>{word('a footer of even pages')}"
        f"</evenFooter>"
        f"<firstHeader>{word('a header of the first page')}</firstHeader></headerFooter>"
    )
    alternative = f'<controlPr altText="{word("the alternative text of a form control")}"/>'
    control = f"<controls><control>{alternative}</control></controls>"
    newer = (
        '<extLst><ext><x14:dataValidations><x14:dataValidation type="list"><x14:formula1><xm:f>'
        f'"{word("a choice of newer programs")}"</xm:f></x14:formula1><xm:sqref>C1</xm:sqref></x14:dataValidation>'
        "</x14:dataValidations></ext></extLst>"
    )
    return (
        f'<worksheet {_NS}><dimension ref="A1:XFD1048576"/><cols><col min="4" max="4" hidden="1"/></cols>'
        f"<sheetData>{_rows()}</sheetData>{around}{validations}{page}"
        f'<drawing r:id="r1"/><legacyDrawing r:id="r2"/>{control}{newer}</worksheet>'
    )


def _sheet_parts() -> dict[str, str]:
    def sheet(place: str, tag: str = "worksheet") -> str:
        return (
            f"<{tag} {_NS}><sheetData><row r='1'>{_text_cell('A1', word(place))}</row></sheetData>"
            f"</{tag.split(maxsplit=1)[0]}>"
        )

    return {
        "xl/worksheets/sheet1.xml": _first_sheet(),
        "xl/worksheets/_rels/sheet1.xml.rels": _links(
            ("drawing", "../drawings/drawing1.xml"),
            ("vmlDrawing", "../drawings/vmlDrawing1.vml"),
            ("comments", "../comments1.xml"),
            ("threadedComment", "../threadedComments/threadedComment1.xml"),
            ("table", "../tables/table1.xml"),
            ("pivotTable", "../pivotTables/pivotTable1.xml"),
            external={"web": f"https://example.com/{word('the address of a link')}"},
        ),
        "xl/worksheets/sheet2.xml": sheet("a hidden sheet"),
        "xl/worksheets/sheet3.xml": sheet("a very hidden sheet"),
        "xl/macrosheets/sheet1.xml": sheet("a macro sheet", "macrosheet"),
        "xl/dialogsheets/sheet1.xml": f'<dialogsheet {_NS}><legacyDrawing r:id="r1"/></dialogsheet>',
        "xl/dialogsheets/_rels/sheet1.xml.rels": _links(("vmlDrawing", "../drawings/vmlDrawing2.vml")),
        "xl/drawings/vmlDrawing2.vml": f"<xml {_NS}><v:shape><v:textbox><div>{word('a dialog sheet')}</div>"
        "</v:textbox></v:shape></xml>",
        "xl/chartsheets/sheet1.xml": f'<chartsheet {_NS}><drawing r:id="r1"/></chartsheet>',
        "xl/chartsheets/_rels/sheet1.xml.rels": _links(("drawing", "../drawings/drawing2.xml")),
        "xl/comments1.xml": f"<comments {_NS}><authors><author>{word('the author of a comment')}</author>"
        f"<author>tc=1</author>"
        f'</authors><commentList><comment ref="A1" authorId="0"><text><r><t>{word("a comment")}</t></r></text>'
        f"</comment>"
        '<comment ref="B9" authorId="1"><text><t>[Threaded comment] shown above</t></text></comment></commentList>'
        "</comments>",
        "xl/threadedComments/threadedComment1.xml": "<ThreadedComments>"
        f'<threadedComment ref="B9" personId="p1" id="1"><text>{word("a threaded comment")}</text></threadedComment>'
        f'<threadedComment ref="B9" personId="p1" id="2" parentId="1"><text>{word("a reply")}</text></threadedComment>'
        "</ThreadedComments>",
        "xl/tables/table1.xml": f'<table {_NS} displayName="{word("the name of a table")}" ref="A1:B9"><tableColumns>'
        f'<tableColumn id="1" name="{word("the column of a table")}"/></tableColumns></table>',
        "xl/pivotTables/pivotTable1.xml": f'<pivotTableDefinition {_NS} name="{word("the name of a pivot table")}">'
        '<location ref="F1:G9"/></pivotTableDefinition>',
    }


def _shape(text: str, properties: str = "") -> str:
    return (
        f'<xdr:sp><xdr:nvSpPr><xdr:cNvPr id="2" name="TextBox 1"{properties}</xdr:nvSpPr>'
        f"<xdr:txBody><a:p><a:r><a:t>{text}</a:t></a:r></a:p></xdr:txBody></xdr:sp>"
    )


def _frame(content: str, properties: str = "/>") -> str:
    return (
        f'<xdr:graphicFrame><xdr:nvGraphicFramePr><xdr:cNvPr id="3" name="Frame"{properties}</xdr:nvGraphicFramePr>'
        f"<a:graphic><a:graphicData>{content}</a:graphicData></a:graphic></xdr:graphicFrame>"
    )


def _title(text: str, prefix: str = "c") -> str:
    return (
        f"<{prefix}:title><{prefix}:tx><{prefix}:rich><a:p><a:r><a:t>{text}</a:t></a:r></a:p></{prefix}:rich>"
        f"</{prefix}:tx>"
        f"</{prefix}:title>"
    )


def _chart() -> str:
    def points(tag: str, value: str) -> str:
        cache = f'<c:strCache><c:pt idx="0"><c:v>{value}</c:v></c:pt></c:strCache>'
        return f"<c:{tag}><c:strRef><c:f>Sheet1!$A$1</c:f>{cache}</c:strRef></c:{tag}>"

    series = "".join(
        points(tag, word(f"the {what} of a chart"))
        for tag, what in (("tx", "series"), ("cat", "category"), ("val", "value"))
    )
    label = (
        f"<c:dLbls><c:dLbl><c:tx><c:rich><a:p><a:r><a:t>{word('the label of a chart')}</a:t></a:r></a:p>"
        f"</c:rich></c:tx>"
    )
    trend = f"<c:trendline><c:name>{word('the trend line of a chart')}</c:name></c:trendline>"
    return (
        f"<c:chartSpace {_NS}><c:chart>{_title(word('the title of a chart'))}<c:plotArea><c:barChart><c:ser>{series}"
        f"{label}</c:dLbl></c:dLbls>{trend}</c:ser></c:barChart><c:valAx>{_title(word('the axis of a chart'))}"
        f"</c:valAx>"
        '</c:plotArea></c:chart><c:userShapes r:id="r1"/></c:chartSpace>'
    )


def _drawing_parts() -> dict[str, str]:
    link = f' descr="{word("the alternative text of a shape")}"><a:hlinkClick r:id="web"/></xdr:cNvPr>'
    picture = (
        f'<xdr:pic><xdr:nvPicPr><xdr:cNvPr id="4" name="{word("the name of a picture")}" '
        f'descr="{word("the alternative text of a picture")}"/></xdr:nvPicPr>'
        '<xdr:blipFill><a:blip r:embed="r4"/></xdr:blipFill></xdr:pic>'
    )
    charts = (
        _frame('<c:chart r:id="r1"/>', f' descr="{word("the alternative text of a chart")}"/>')
        + "<mc:AlternateContent><mc:Choice>"
        + _frame('<cx:chart r:id="r2"/>')
        + "</mc:Choice><mc:Fallback>"
        + f"{_shape('not for this program', '/>')}</mc:Fallback></mc:AlternateContent>"
        + _frame('<dgm:relIds r:dm="r3"/>')
    )
    drawn = (
        _shape(word("a text box"), link)
        + f"<xdr:grpSp>{_shape(word('a grouped shape'), '/>')}</xdr:grpSp>"
        + f"{picture}{charts}"
    )
    categories = f'<cx:strDim><cx:lvl><cx:pt idx="0">{word("the category of a new chart")}</cx:pt></cx:lvl></cx:strDim>'
    return {
        "xl/drawings/drawing1.xml": f"<xdr:wsDr {_NS}><xdr:twoCellAnchor>{drawn}</xdr:twoCellAnchor></xdr:wsDr>",
        "xl/drawings/_rels/drawing1.xml.rels": _links(
            ("chart", "../charts/chart1.xml"),
            ("chartEx", "../charts/chartEx1.xml"),
            ("diagramData", "../diagrams/data1.xml"),
            ("image", "../media/image1.png"),
            external={"web": f"https://example.com/{word('the link of a shape')}"},
        ),
        "xl/drawings/vmlDrawing1.vml": f"<xml {_NS}><v:shape><v:textbox><div>{word('a button of old times')}</div>"
        '</v:textbox><x:ClientData ObjectType="Button"/></v:shape></xml>',
        "xl/drawings/drawing2.xml": f"<xdr:wsDr {_NS}>" + _frame('<c:chart r:id="r1"/>') + "</xdr:wsDr>",
        "xl/drawings/_rels/drawing2.xml.rels": _links(("chart", "../charts/chart2.xml")),
        "xl/charts/chart1.xml": _chart(),
        "xl/charts/_rels/chart1.xml.rels": _links(("chartUserShapes", "../drawings/drawing3.xml")),
        "xl/charts/chart2.xml": f"<c:chartSpace {_NS}><c:chart>{_title(word('a title on a chart sheet'))}</c:chart>"
        "</c:chartSpace>",
        "xl/drawings/drawing3.xml": f"<c:userShapes {_NS}>{_shape(word('a shape on a chart'), '/>')}</c:userShapes>",
        "xl/charts/chartEx1.xml": f"<cx:chartSpace {_NS}><cx:chartData><cx:data>{categories}</cx:data></cx:chartData>"
        f"<cx:chart>{_title(word('the title of a new chart'), 'cx')}</cx:chart></cx:chartSpace>",
        "xl/diagrams/data1.xml": f"<dgm:dataModel {_NS}><dgm:ptLst><dgm:pt><dgm:t><a:p><a:r><a:t>{word('a diagram')}"
        "</a:t></a:r></a:p></dgm:t></dgm:pt></dgm:ptLst></dgm:dataModel>",
        "xl/media/image1.png": "no picture",
    }


def _other_parts() -> dict[str, str]:
    """The parts that are not shown, by the place of their word."""
    names = {
        "an embedded file": "xl/embeddings/oleObject1.bin",
        "a form control": "xl/ctrlProps/ctrlProp1.xml",
        "an external link": "xl/externalLinks/externalLink1.xml",
        "a pivot cache": "xl/pivotCache/pivotCacheDefinition1.xml",
        "a slicer": "xl/slicers/slicer1.xml",
        "a query table": "xl/queryTables/queryTable1.xml",
        "a data connection": "xl/connections.xml",
        "a custom XML part": "customXml/item1.xml",
        "an XML map": "xl/xmlMaps.xml",
        "a change log": "xl/revisions/revisionLog1.xml",
        "a rich value": "xl/richData/rdrichvalue.xml",
        "a part of an unknown kind": "xl/somethingNew/new1.xml",
    }
    return {part: f"<x>{word(place)}</x>" for place, part in names.items()}
