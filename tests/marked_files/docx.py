"""A Word document with a word in every place where one can stand.

What stays true: a place is written in its XML as `«a footnote»` where its word has to be shown, and as
`«a deletion|deleted passage»` where it is named among what is left out, by the kind behind the bar.
"""

import re
from collections.abc import Mapping

from tests.marked_files import MarkedFile, mark_of
from tests.unit.documents import packed

MEDIA_TYPE = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"

_USUAL, _MICROSOFT = "http://schemas.openxmlformats.org", "http://schemas.microsoft.com/office"
_OFFICE = f"{_USUAL}/officeDocument/2006/relationships"
_PACKAGE = f"{_USUAL}/package/2006"
NAMESPACES = " ".join(
    f'xmlns:{prefix}="{address}"'
    for prefix, address in {
        "w": f"{_USUAL}/wordprocessingml/2006/main",
        "r": _OFFICE,
        "m": f"{_USUAL}/officeDocument/2006/math",
        "mc": f"{_USUAL}/markup-compatibility/2006",
        "wp": f"{_USUAL}/drawingml/2006/wordprocessingDrawing",
        "a": f"{_USUAL}/drawingml/2006/main",
        "pic": f"{_USUAL}/drawingml/2006/picture",
        "c": f"{_USUAL}/drawingml/2006/chart",
        "dgm": f"{_USUAL}/drawingml/2006/diagram",
        "wps": f"{_MICROSOFT}/word/2010/wordprocessingShape",
        "wpg": f"{_MICROSOFT}/word/2010/wordprocessingGroup",
        "w14": f"{_MICROSOFT}/word/2010/wordml",
        "w15": f"{_MICROSOFT}/word/2012/wordml",
        "cx": f"{_MICROSOFT}/drawing/2014/chartex",
        "v": "urn:schemas-microsoft-com:vml",
        "o": "urn:schemas-microsoft-com:office:office",
    }.items()
)
_PLACE = re.compile(r"«([^|»]+)\|?([^»]*)»")


def run(content: str, properties: str = "") -> str:
    """A run of text."""
    return f"<w:r><w:rPr>{properties}</w:rPr><w:t xml:space='preserve'>{content}</w:t></w:r>"


def paragraph(content: str, properties: str = "") -> str:
    """A paragraph with a run of text."""
    return f"<w:p><w:pPr>{properties}</w:pPr>{run(content)}</w:p>"


def control(content: str, properties: str = "") -> str:
    """A content control around something."""
    return f"<w:sdt><w:sdtPr>{properties}</w:sdtPr><w:sdtContent>{content}</w:sdtContent></w:sdt>"


def cell(content: str, properties: str = "") -> str:
    """A cell of a table."""
    return f"<w:tc><w:tcPr>{properties}</w:tcPr>{content}</w:tc>"


def row(*cells: str) -> str:
    """A row of a table."""
    return f"<w:tr>{''.join(cells)}</w:tr>"


def field(instruction: str, result: str = "", form: str = "") -> str:
    """A field, as runs."""
    turn = '<w:r><w:fldChar w:fldCharType="{}">{}</w:fldChar></w:r>'.format
    middle = turn("separate", "") + run(result) if result else ""
    code = f"<w:r><w:instrText>{instruction}</w:instrText></w:r>"
    return turn("begin", form and f"<w:ffData>{form}</w:ffData>") + code + middle + turn("end", "")


def drawing(content: str, alternative: str = "") -> str:
    """A drawing in a run."""
    properties = f'<wp:docPr id="1" name="Drawing 1" {alternative}/>'
    graphic = f"<a:graphic><a:graphicData>{content}</a:graphicData></a:graphic>"
    return f"<w:r><w:drawing><wp:inline>{properties}{graphic}</wp:inline></w:drawing></w:r>"


def text_box(content: str) -> str:
    """A text box, in the form of today and in the old one."""
    box = f"<w:txbxContent>{content}</w:txbxContent>"
    today = drawing(f"<wps:wsp><wps:cNvPr/><wps:txbx>{box}</wps:txbx></wps:wsp>")[5:-6]
    old = f"<w:pict><v:shape><v:textbox>{box}</v:textbox></v:shape></w:pict>"
    return (
        f'<w:r><mc:AlternateContent><mc:Choice Requires="wps">{today}</mc:Choice>'
        f"<mc:Fallback>{old}</mc:Fallback></mc:AlternateContent></w:r>"
    )


_PICTURE = "<pic:pic><pic:nvPicPr><pic:cNvPr id='1'/></pic:nvPicPr><a:blip r:embed='gone'/></pic:pic>"
_BLOCKS = "".join([
    paragraph("«a heading»", '<w:pStyle w:val="Heading2"/>'),
    paragraph("«a paragraph»"),
    paragraph("«an entry of a list»", '<w:numPr><w:ilvl w:val="0"/><w:numId w:val="1"/></w:numPr>'),
    control(paragraph("«a content control around paragraphs»"), '<w:alias w:val="«its name|content control name»"/>'),
    f"<w:customXml>{paragraph('«custom XML around paragraphs»')}</w:customXml>",
    "<w:tbl><w:tblPr><w:tblCaption w:val='«the title of a table»'/>",
    "<w:tblDescription w:val='«its description»'/></w:tblPr>",
    row(cell(paragraph("«a cell»") + paragraph("«its second paragraph»"), '<w:gridSpan w:val="2"/>')),
    row(cell(paragraph("«a merged cell»"), "<w:vMerge/>"), control(cell(paragraph("«a control around a cell»")))),
    control(row(cell(paragraph("«a control around a row»")), cell(control(paragraph("«a control in a cell»"))))),
    f"<w:customXml>{row(cell(paragraph('«custom XML around a row»')))}</w:customXml>",
    row(cell(f"<w:tbl>{row(cell(paragraph('«a cell of a nested table»')))}</w:tbl>" + paragraph(""))),
    f"<w:tr><w:trPr><w:del/></w:trPr>{cell(paragraph('«a deleted row|deleted passage»'))}</w:tr></w:tbl>",
    control(f"<w:tbl>{row(cell(paragraph('«a control around a table»')))}</w:tbl>"),
    '<w:altChunk r:id="word_chunk_html"/><w:altChunk r:id="word_chunk_rtf"/>',
    "<m:oMathPara><m:oMath><m:r><m:t>«an equation of its own»</m:t></m:r></m:oMath></m:oMathPara>",
])  # fmt: skip
_INLINE = "".join([
    control(run("«a content control in line»"),
            '<w:dropDownList><w:listItem w:value="«its choice|list choice»"/></w:dropDownList>'),
    control(run("«a placeholder»"), "<w:showingPlcHdr/>"),
    f"<w:smartTag>{run('«a smart tag»')}</w:smartTag><w:customXml>{run('«custom XML in line»')}</w:customXml>",
    f"<w:hyperlink r:id='link' w:tooltip='«a tooltip|link tooltip»'>{run('«a link»')}</w:hyperlink>",
    f"<w:ins w:author='A'>{run('«an insertion»')}</w:ins><w:moveTo>{run('«what was moved here»')}</w:moveTo>",
    "<w:del><w:r><w:delText>«a deletion|deleted passage»</w:delText></w:r></w:del>",
    f"<w:moveFrom>{run('«what was moved away|deleted passage»')}</w:moveFrom>",
    run("«hidden text|hidden passage»", "<w:vanish/>"),
    run("«text of a hidden style|hidden passage»", '<w:rStyle w:val="Secret"/>'),
    f"<w:fldSimple w:instr='AUTHOR'>{run('«a simple field»')}</w:fldSimple>",
    field("DATE", "«a field»"),
    field("DOCPROPERTY «a field without a result»"),
    field('HYPERLINK "https://«the address of a field».example"', "«a linked field»"),
    field("ADDIN «an instruction|field instruction»", "1"),
    field("XE «an index entry|index entry»"),
    field("FORMTEXT", "«a form field»", "<w:helpText w:val='«its hint|form field hint»'/>"),
    field("FORMDROPDOWN", "", "<w:ddList><w:result w:val='1'/><w:listEntry w:val='«a choice|list choice»'/>"
          "<w:listEntry w:val='«the chosen one»'/></w:ddList>"),
    "<w:r><w:ruby><w:rt>", run("«a reading aid»"),
    "</w:rt><w:rubyBase>", run("«its base»"), "</w:rubyBase></w:ruby></w:r>",
    "<m:oMath><m:f><m:num><m:r><m:t>«a numerator»</m:t></m:r></m:num>",
    "<m:den><m:r><m:t>«a denominator»</m:t></m:r></m:den></m:f></m:oMath>",
    "<w:dir w:val='rtl'>", run("«a change of direction»"), "</w:dir>",
    "<w:r><w:footnoteReference w:id='2'/><w:endnoteReference w:id='2'/><w:commentReference w:id='1'/></w:r>",
])  # fmt: skip
_DRAWINGS = "".join([
    text_box(paragraph("«a text box»") + f"<w:tbl>{row(cell(paragraph('«a table in a text box»')))}</w:tbl>"),
    "<w:r><w:pict><v:group alt='«the alternative text of an old shape»'><v:shape><v:textbox><w:txbxContent>",
    f"{paragraph('«an old text box»')}</w:txbxContent></v:textbox></v:shape></v:group></w:pict></w:r>",
    "<w:r><w:pict><v:shape><v:textpath string='«WordArt»'/></v:shape></w:pict></w:r>",
    drawing(_PICTURE, 'title="«the title of a picture»" descr="«the alternative text of a picture»"'),
    drawing(f"<wpg:wgp><wps:wsp><wps:cNvPr descr='«the alternative text of a shape»'/><wps:txbx><w:txbxContent>"
            f"{paragraph('«a shape in a group»')}</w:txbxContent></wps:txbx></wps:wsp></wpg:wgp>"),
    drawing('<c:chart r:id="word_charts_chart1_xml"/>'),
    drawing('<cx:chart r:id="word_charts_chartEx1_xml"/>'),
    drawing('<dgm:relIds r:dm="word_diagrams_data1_xml"/>'),
    drawing("<a:lockedCanvas><a:p><a:r><a:t>«a shape on a locked canvas»</a:t></a:r></a:p></a:lockedCanvas>"),
    "<w:r><w:object><v:shape><v:imagedata/></v:shape>",
    "<o:OLEObject Type='Embed' ProgID='Excel.Sheet.12' r:id='word_embeddings_a_xlsx'/></w:object></w:r>",
    "<w:r><w:object><w:control r:id='word_activeX_a_xml'/></w:object></w:r>",
])  # fmt: skip
#: The body of the document.
BODY = f"{_BLOCKS}<w:p>{_INLINE}</w:p><w:p>{_DRAWINGS}</w:p>"


def _root(name: str, content: str) -> str:
    return f"<{name} {NAMESPACES}>{content}</{name}>"


def _note(kind: str, place: str) -> str:
    separator = f'<w:{kind} w:type="separator" w:id="0"><w:p/></w:{kind}>'
    return _root(f"w:{kind}s", f'{separator}<w:{kind} w:id="2">{paragraph(place)}</w:{kind}>')


def _points(place: str) -> str:
    return f'<c:strRef><c:strCache><c:pt idx="0"><c:v>{place}</c:v></c:pt></c:strCache></c:strRef>'


def _title(place: str) -> str:
    return f"<c:title><c:tx><c:rich><a:p><a:r><a:t>{place}</a:t></a:r></a:p></c:rich></c:tx></c:title>"


_SERIES = (
    f"<c:ser><c:tx>{_points('«a series of a chart»')}</c:tx><c:dLbls><c:dLbl><a:p><a:r><a:t>«a label of a chart»"
    f"</a:t></a:r></a:p></c:dLbl></c:dLbls><c:cat>{_points('«a category of a chart»')}</c:cat>"
    f"<c:val>{_points('«a value of a chart»')}</c:val></c:ser>"
)
#: The other parts: by their names, what they are to the document, and their content.
PARTS: Mapping[str, tuple[str, str]] = {
    "word/styles.xml": ("styles", _root("w:styles",
        '<w:style w:styleId="Heading2"><w:name w:val="heading 2"/></w:style>'
        '<w:style w:styleId="Secret"><w:rPr><w:vanish/></w:rPr></w:style>')),
    "word/numbering.xml": ("numbering", _root("w:numbering",
        '<w:abstractNum w:abstractNumId="0"><w:lvl w:ilvl="0"><w:numFmt w:val="decimal"/>'
        '<w:lvlText w:val="«the text of a list number» %1"/></w:lvl></w:abstractNum>'
        '<w:num w:numId="1"><w:abstractNumId w:val="0"/></w:num>')),
    **{f"word/{kind}{n}.xml": (kind, _root("w:ftr", paragraph(f"«the {kind} of {pages}»")))
       for kind in ("header", "footer") for n, pages in enumerate(("all pages", "the first page", "even pages"))},
    "word/footnotes.xml": ("footnotes", _note("footnote", "«a footnote»")),
    "word/endnotes.xml": ("endnotes", _note("endnote", "«an endnote»")),
    "word/comments.xml": ("comments", _root("w:comments",
        f'<w:comment w:id="1" w:author="«the author of a comment»">{paragraph("«a comment»")}</w:comment>'
        f'<w:comment w:id="2" w:author="B">{paragraph("«a reply to a comment»")}</w:comment>')),
    "word/settings.xml": ("settings", _root("w:settings",
        '<w:docVars><w:docVar w:name="a" w:val="«a document variable|document variable»"/></w:docVars>')),
    "word/glossary/document.xml": ("glossaryDocument", _root("w:glossaryDocument",
        f"<w:docParts><w:docPart><w:docPartBody>{paragraph('«a building block|building block»')}"
        "</w:docPartBody></w:docPart></w:docParts>")),
    "customXml/item1.xml": ("customXml", "<a>«custom data|custom XML part»</a>"),
    "word/extra.xml": ("somethingNew", "<a>«a part of a kind that is not known|unknown part»</a>"),
    "word/chunk.html": ("aFChunk", "<html><body><p>«an inserted page»</p></body></html>"),
    "word/chunk.rtf": ("aFChunk", "{\\rtf1 «an inserted file of another kind|inserted file»}"),
    "word/charts/chart1.xml": ("chart", _root("c:chartSpace",
        f"<c:chart>{_title('«the title of a chart»')}<c:plotArea>{_SERIES}<c:valAx>{_title('«the title of an axis»')}"
        "</c:valAx></c:plotArea></c:chart>")),
    "word/charts/chartEx1.xml": ("chartEx", _root("cx:chartSpace",
        "<cx:chart><cx:title><a:p><a:r><a:t>«the title of a new kind of chart»</a:t></a:r></a:p></cx:title></cx:chart>"
        "<cx:strDim type='cat'><cx:lvl><cx:pt>«its category»</cx:pt></cx:lvl></cx:strDim>")),
    "word/diagrams/data1.xml": ("diagramData", _root("dgm:dataModel",
        "<dgm:pt><dgm:t><a:p><a:r><a:t>«SmartArt»</a:t></a:r></a:p></dgm:t></dgm:pt>")),
    "word/embeddings/a.xlsx": ("package", "«an embedded workbook|embedded workbook»"),
    "word/activeX/a.xml": ("control", "<a>«an ActiveX control|form control»</a>"),
    "word/media/a.png": ("image", "«a picture|picture»"),
    "docProps/core.xml": ("metadata/core-properties", _root("p",
        "<title>«the title»</title><subject>«the subject»</subject><creator>«the author»</creator>"
        "<keywords>«a keyword»</keywords><description>«the remarks»</description><category>«the category»</category>"
        "<lastModifiedBy>«who saved it last»</lastModifiedBy>")),
    "docProps/app.xml": ("extended-properties", "<p><Company>«the company»</Company></p>"),
    "docProps/custom.xml": ("custom-properties", "<p><property>«a custom property»</property></p>"),
}  # fmt: skip
_ADDRESS = f'<Relationship Id="link" Type="{_OFFICE}/hyperlink" Target="https://{{}}.example" TargetMode="External"/>'


def build() -> MarkedFile:
    """Build the document."""
    places: dict[str, str] = {}

    def mark(match: re.Match[str]) -> str:
        places[match[1]] = match[2]
        return mark_of(match[1])

    parts = document_parts(BODY, PARTS)
    return MarkedFile(MEDIA_TYPE, packed({name: _PLACE.sub(mark, parts[name]) for name in parts}), places)


def document_parts(body: str, others: Mapping[str, tuple[str, str]]) -> dict[str, bytes | str]:
    """The parts of a document with this body and these others, as in `PARTS`."""
    of_document = [
        _ADDRESS.format("«the address of a link»"),
        f'<Relationship Id="gone" Type="{_OFFICE}/image" Target="NULL"/>',
    ]
    of_package = [f'<Relationship Id="d" Type="{_OFFICE}/officeDocument" Target="word/document.xml"/>']
    for name, (kind, _) in others.items():
        relation_id = re.sub(r"\W", "_", name)
        relationship = f'<Relationship Id="{relation_id}" Type="{_OFFICE}/{kind}" Target="/{name}"/>'
        (of_package if name.startswith("docProps/") else of_document).append(relationship)
    wrap = f'<Relationships xmlns="{_PACKAGE}/relationships">{{}}</Relationships>'.format
    override = f'<Override PartName="/word/document.xml" ContentType="{MEDIA_TYPE}.main+xml"/>'
    return {
        "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types">{override}</Types>',
        "_rels/.rels": wrap("".join(of_package)),
        "word/_rels/document.xml.rels": wrap("".join(of_document)),
        "word/document.xml": _root("w:document", f"<w:body>{body}</w:body>"),
        **{name: content for name, (_, content) in others.items()},
    }
