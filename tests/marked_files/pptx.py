"""A presentation with a word in every place where one can stand.

What stays true: each part is written by hand, as programs write them.
"""

import re

from tests.marked_files import MarkedFile, mark_of
from tests.unit.documents import OOXML, packed

#: By the place, as in `MarkedFile`.
_PLACES = {
    "the title of the file": "",
    "its author": "",
    "its keywords": "",
    "its company": "",
    "a property of one's own": "",
    "the name of a section": "",
    "the name of a custom show": "",
    "a title": "",
    "a paragraph": "",
    "a footer": "",
    "a date": "",
    "text in a group": "",
    "a group in a group": "",
    "a connector": "",
    "a hidden shape": "",
    "a field": "",
    "a formula": "",
    "text in two forms": "",
    "the address of a link": "",
    "the hint of a link": "",
    "the link of a shape": "",
    "the file that a link opens": "",
    "a cell": "",
    "a merged cell": "",
    "what is said of a picture": "",
    "the title of a picture": "",
    "what is said of a shape": "",
    "what is said of a film": "",
    "the title of a chart": "",
    "the title of an axis": "",
    "the name of a series": "",
    "a category": "",
    "an upper category": "",
    "a value": "",
    "a label of a point": "",
    "a label from a cell": "",
    "the name of a trend": "",
    "a shape on a chart": "",
    "the title of a funnel": "",
    "a category of a funnel": "",
    "a point of a diagram": "",
    "the name of an embedded object": "",
    "notes": "",
    "the footer of notes": "",
    "a comment": "",
    "who commented": "",
    "a comment of the newer kind": "",
    "a reply": "",
    "a hidden slide": "",
    "text of a layout": "",
    "text of a master": "",
    "the footer of printed notes": "",
    "text of the handout master": "",
    "a picture": "picture",
    "an embedded object": "embedded workbook",
    "a film": "video",
    "a sound": "sound",
    "a model": "3D model",
    "ink": "ink drawing",
}

_NAMESPACES = (
    'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" '
    'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships" '
    'xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main" '
    'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006" '
    'xmlns:p14="http://schemas.microsoft.com/office/powerpoint/2010/main" '
    'xmlns:a14="http://schemas.microsoft.com/office/drawing/2010/main" '
    'xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math" '
    'xmlns:c="http://schemas.openxmlformats.org/drawingml/2006/chart" '
    'xmlns:cx="http://schemas.microsoft.com/office/drawing/2014/chartex" '
    'xmlns:dgm="http://schemas.openxmlformats.org/drawingml/2006/diagram" '
    'xmlns:p188="http://schemas.microsoft.com/office/powerpoint/2018/8/main" '
    'xmlns:am3d="http://schemas.microsoft.com/office/drawing/2017/model3d" '
    'xmlns:cdr="http://schemas.openxmlformats.org/drawingml/2006/chartDrawing" '
    'xmlns:cp="http://schemas.openxmlformats.org/package/2006/metadata/core-properties" '
    'xmlns:dc="http://purl.org/dc/elements/1.1/" '
    'xmlns:vt="http://schemas.openxmlformats.org/officeDocument/2006/docPropsVTypes"'
)
_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def text(words: str) -> str:
    """A body of text with one paragraph."""
    return f"<a:p><a:r><a:t>{words}</a:t></a:r></a:p>"


def shape(words: str, *, placeholder: str = "", properties: str = "", inside: str = "") -> str:
    """A shape with one paragraph."""
    kind = f'<p:ph type="{placeholder}"/>' if placeholder else ""
    return (
        f'<p:sp><p:nvSpPr><p:cNvPr id="2" name="" {properties}>{inside}</p:cNvPr><p:cNvSpPr/><p:nvPr>{kind}</p:nvPr>'
        f"</p:nvSpPr><p:spPr/><p:txBody><a:bodyPr/>{words if '<' in words else text(words)}</p:txBody></p:sp>"
    )


def picture(properties: str = "", media: str = "") -> str:
    """A picture, film or sound."""
    return (
        f'<p:pic><p:nvPicPr><p:cNvPr id="3" name="" {properties}/><p:cNvPicPr/><p:nvPr>{media}</p:nvPr></p:nvPicPr>'
        '<p:blipFill><a:blip r:embed="rIdP"/></p:blipFill><p:spPr/></p:pic>'
    )


def frame(content: str) -> str:
    """A frame around a table, chart, diagram or object."""
    return (
        '<p:graphicFrame><p:nvGraphicFramePr><p:cNvPr id="4" name=""/><p:cNvGraphicFramePr/><p:nvPr/>'
        f"</p:nvGraphicFramePr><a:graphic><a:graphicData>{content}</a:graphicData></a:graphic></p:graphicFrame>"
    )


def group(*shapes: str) -> str:
    """A group of shapes."""
    return f'<p:grpSp><p:nvGrpSpPr><p:cNvPr id="5" name=""/></p:nvGrpSpPr><p:grpSpPr/>{"".join(shapes)}</p:grpSp>'


def slide(*shapes: str, element: str = "sld", attributes: str = "") -> str:
    """A slide, layout, master or page of notes."""
    return (
        f'<p:{element} {_NAMESPACES} {attributes}><p:cSld><p:spTree><p:nvGrpSpPr><p:cNvPr id="1" name=""/>'
        f"</p:nvGrpSpPr><p:grpSpPr/>{''.join(shapes)}</p:spTree></p:cSld></p:{element}>"
    )


def relationships(**targets: str) -> str:
    """What a part points to: `kind__id="target"`; an address is external."""
    entries = ""
    for name, target in targets.items():
        kind, _, identity = name.partition("__")
        mode = ' TargetMode="External"' if ":" in target else ""
        kind = kind.replace("_", "-") if kind.endswith("properties") else kind
        entries += f'<Relationship Id="{identity or "r" + kind}" Type="{_RELATIONS}/{kind}" Target="{target}"{mode}/>'
    return (
        f'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{entries}</Relationships>'
    )


_LINK = (
    '<a:p><a:r><a:rPr><a:hlinkClick r:id="rIdL" tooltip="[the hint of a link]"/></a:rPr><a:t>here</a:t></a:r>'
    '<a:r><a:rPr><a:hlinkClick r:id="rIdF"/></a:rPr><a:t>there</a:t></a:r></a:p>'
)
_FORMULA = "<a:p><a14:m><m:oMath><m:r><m:t>[a formula]</m:t></m:r></m:oMath></a14:m></a:p>"
_TABLE = (
    f'<a:tbl><a:tr><a:tc><a:txBody>{text("[a cell]")}</a:txBody></a:tc></a:tr><a:tr><a:tc gridSpan="2"><a:txBody>'
    f'{text("[a merged cell]")}</a:txBody></a:tc><a:tc hMerge="1"><a:txBody>{text("covered")}</a:txBody></a:tc></a:tr></a:tbl>'
)
_FUNNEL_FRAME = '<cx:chart r:id="rIdX"/>'
_SLIDE = slide(
    shape("[a title]", placeholder="title"),
    shape("[a paragraph]"),
    shape("[a footer]", placeholder="ftr"),
    shape("[a date]", placeholder="dt"),
    shape('<a:p><a:fld type="slidenum"><a:t>[a field]</a:t></a:fld></a:p>'),
    group(shape("[text in a group]"), group(shape("[a group in a group]"))),
    '<p:cxnSp><p:nvCxnSpPr><p:cNvPr id="9" name=""/></p:nvCxnSpPr><p:txBody>'
    + text("[a connector]")
    + "</p:txBody></p:cxnSp>",
    shape("[a hidden shape]", properties='hidden="1"'),
    f'<mc:AlternateContent><mc:Choice Requires="a14">{shape(_FORMULA)}</mc:Choice><mc:Fallback>{picture()}</mc:Fallback>'
    "</mc:AlternateContent>",
    f'<mc:AlternateContent><mc:Choice Requires="p14">{shape("[text in two forms]")}</mc:Choice><mc:Fallback>'
    f"{shape('[text in two forms]')}</mc:Fallback></mc:AlternateContent>",
    shape(_LINK),
    shape("x", properties='descr="[what is said of a shape]"', inside='<a:hlinkClick r:id="rIdS"/>'),
    frame(_TABLE),
    picture('descr="[what is said of a picture]" title="[the title of a picture]"'),
    picture('descr="[what is said of a film]"', '<a:videoFile r:link="rIdV"/>'),
    picture("", '<a:audioFile r:link="rIdV"/>'),
    frame('<c:chart r:id="rIdC"/>'),
    f'<mc:AlternateContent><mc:Choice Requires="cx1">{frame(_FUNNEL_FRAME)}'
    f"</mc:Choice><mc:Fallback>{shape('This chart is not available.')}</mc:Fallback></mc:AlternateContent>",
    frame('<dgm:relIds r:dm="rIdD"/>'),
    frame(
        '<p:oleObj name="[the name of an embedded object]" progId="Excel.Sheet.12" r:id="rIdO"><p:embed/></p:oleObj>'
    ),
    frame("<am3d:model3d/>"),
    '<p:contentPart r:id="rIdI"/>',
)
_SERIES = (
    '<c:ser><c:tx><c:strRef><c:strCache><c:pt idx="0"><c:v>[the name of a series]</c:v></c:pt></c:strCache></c:strRef>'
    "</c:tx><c:trendline><c:name>[the name of a trend]</c:name></c:trendline><c:dlblRangeCache><c:pt idx='0'><c:v>"
    f"[a label from a cell]</c:v></c:pt></c:dlblRangeCache><c:dLbls><c:dLbl><c:tx><c:rich>{text('[a label of a point]')}</c:rich></c:tx></c:dLbl></c:dLbls>"
    '<c:cat><c:multiLvlStrRef><c:multiLvlStrCache><c:lvl><c:pt idx="0"><c:v>[a category]</c:v></c:pt></c:lvl><c:lvl>'
    '<c:pt idx="0"><c:v>[an upper category]</c:v></c:pt></c:lvl></c:multiLvlStrCache></c:multiLvlStrRef></c:cat>'
    '<c:val><c:numRef><c:numCache><c:pt idx="0"><c:v>[a value]</c:v></c:pt></c:numCache></c:numRef></c:val></c:ser>'
)
_CHART = (
    f"<c:chartSpace {_NAMESPACES}><c:chart><c:title><c:tx><c:rich>{text('[the title of a chart]')}</c:rich></c:tx></c:title>"
    f"<c:plotArea><c:barChart>{_SERIES}</c:barChart><c:catAx><c:title><c:tx><c:rich>{text('[the title of an axis]')}"
    "</c:rich></c:tx></c:title></c:catAx></c:plotArea></c:chart></c:chartSpace>"
)
_FUNNEL = (
    f'<cx:chartSpace {_NAMESPACES}><cx:chartData><cx:data><cx:strDim><cx:lvl><cx:pt idx="0">[a category of a funnel]</cx:pt>'
    '</cx:lvl></cx:strDim><cx:numDim><cx:lvl><cx:pt idx="0">7</cx:pt></cx:lvl></cx:numDim></cx:data></cx:chartData>'
    f"<cx:chart><cx:title><cx:tx><cx:rich>{text('[the title of a funnel]')}</cx:rich></cx:tx></cx:title></cx:chart></cx:chartSpace>"
)
_DIAGRAM = (
    f'<dgm:dataModel {_NAMESPACES}><dgm:ptLst><dgm:pt modelId="1"><dgm:t>{text("[a point of a diagram]")}</dgm:t></dgm:pt>'
    '<dgm:pt modelId="2" type="pres"/></dgm:ptLst></dgm:dataModel>'
)
_SECTIONS = (
    '<p:extLst><p:ext><p14:sectionLst><p14:section name="[the name of a section]"><p14:sldIdLst><p14:sldId id="256"/>'
    "</p14:sldIdLst></p14:section></p14:sectionLst></p:ext></p:extLst>"
)
#: The parts, in which `[place]` is the word of that place.
PARTS = {
    "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>',
    "_rels/.rels": relationships(
        officeDocument="ppt/presentation.xml",
        core_properties="docProps/core.xml",
        extended_properties="docProps/app.xml",
        custom_properties="docProps/custom.xml",
    ),
    "docProps/core.xml": f"<cp:coreProperties {_NAMESPACES}><dc:title>[the title of the file]</dc:title><dc:creator>[its author]"
    "</dc:creator><cp:keywords>[its keywords]</cp:keywords></cp:coreProperties>",
    "docProps/app.xml": "<Properties><Application>Writer</Application><Company>[its company]</Company></Properties>",
    "docProps/custom.xml": f'<Properties {_NAMESPACES}><property name="Project"><vt:lpwstr>[a property of one\'s own]'
    "</vt:lpwstr></property></Properties>",
    "ppt/presentation.xml": f'<p:presentation {_NAMESPACES}><p:sldIdLst><p:sldId id="256" r:id="rId1"/><p:sldId id="257" r:id="rId2"/>'
    f'</p:sldIdLst><p:custShowLst><p:custShow name="[the name of a custom show]"/></p:custShowLst>{_SECTIONS}</p:presentation>',
    "ppt/_rels/presentation.xml.rels": relationships(
        slide__rId1="slides/slide7.xml",
        slide__rId2="slides/slide1.xml",
        slideMaster="slideMasters/slideMaster1.xml",
        notesMaster="notesMasters/notesMaster1.xml",
        handoutMaster="handoutMasters/handoutMaster1.xml",
        commentAuthors="commentAuthors.xml",
    ),
    "ppt/slides/slide7.xml": _SLIDE,
    "ppt/slides/_rels/slide7.xml.rels": relationships(
        slideLayout="../slideLayouts/slideLayout1.xml",
        notesSlide="../notesSlides/notesSlide1.xml",
        comments__c1="../comments/comment1.xml",
        comments__c2="../comments/modernComment_1.xml",
        chart__rIdC="../charts/chart1.xml",
        chartEx__rIdX="../charts/chartEx1.xml",
        diagramData__rIdD="../diagrams/data1.xml",
        hyperlink__rIdL="https://example.org/[the address of a link]",
        hyperlink__rIdS="https://example.org/[the link of a shape]",
        hyperlink__rIdF="file:///[the file that a link opens].docx",
        image__rIdP="../media/image1.png",
    ),
    "ppt/slides/slide1.xml": slide(shape("[a hidden slide]"), attributes='show="0"'),
    "ppt/notesSlides/notesSlide1.xml": slide(
        shape("[notes]", placeholder="body"),
        shape("7", placeholder="sldNum"),
        shape("[the footer of notes]", placeholder="ftr"),
        element="notes",
    ),
    "ppt/comments/comment1.xml": f'<p:cmLst {_NAMESPACES}><p:cm authorId="0"><p:text>[a comment]</p:text></p:cm></p:cmLst>',
    "ppt/comments/modernComment_1.xml": f'<p188:cmLst {_NAMESPACES}><p188:cm authorId="0"><p188:replyLst><p188:reply><p188:txBody>'
    f"{text('[a reply]')}</p188:txBody></p188:reply></p188:replyLst><p188:txBody>{text('[a comment of the newer kind]')}"
    "</p188:txBody></p188:cm></p188:cmLst>",
    "ppt/commentAuthors.xml": f'<p:cmAuthorLst {_NAMESPACES}><p:cmAuthor id="0" name="[who commented]"/></p:cmAuthorLst>',
    "ppt/charts/chart1.xml": _CHART,
    "ppt/charts/_rels/chart1.xml.rels": relationships(chartUserShapes="../drawings/drawing1.xml"),
    "ppt/drawings/drawing1.xml": f"<c:userShapes {_NAMESPACES}><cdr:sp><cdr:txBody>{text('[a shape on a chart]')}</cdr:txBody></cdr:sp>"
    "</c:userShapes>",
    "ppt/charts/chartEx1.xml": _FUNNEL,
    "ppt/diagrams/data1.xml": _DIAGRAM,
    "ppt/slideLayouts/slideLayout1.xml": slide(
        shape("A prompt", placeholder="title"), shape("[text of a layout]"), element="sldLayout"
    ),
    "ppt/slideLayouts/_rels/slideLayout1.xml.rels": relationships(slideMaster="../slideMasters/slideMaster1.xml"),
    "ppt/slideMasters/slideMaster1.xml": slide(
        shape("A prompt", placeholder="body"), shape("[text of a master]"), element="sldMaster"
    ),
    "ppt/notesMasters/notesMaster1.xml": slide(
        shape("[the footer of printed notes]", placeholder="ftr"), element="notesMaster"
    ),
    "ppt/handoutMasters/handoutMaster1.xml": slide(shape("[text of the handout master]"), element="handoutMaster"),
}


def build() -> MarkedFile:
    """Build the presentation."""
    parts = {
        name: re.sub(r"\[([a-z][^\]<>]+)\]", lambda match: mark_of(match[1]) if match[1] in _PLACES else match[0], part)
        for name, part in PARTS.items()
    }
    return MarkedFile(f"{OOXML}.presentationml.presentation", packed(parts), _PLACES)
