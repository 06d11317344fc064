"""A PDF with a word in every place where one can stand. What stays true: each object is written by hand."""

import re
import zlib

from tests.marked_files import MarkedFile, mark_of

#: By the place, as in `MarkedFile`.
_PLACES = {
    "the title": "",
    "the author": "",
    "the subject": "",
    "the keywords": "",
    "a property of one's own": "",
    "the title of the metadata": "",
    "the title of an article": "",
    "the name of a layer": "",
    "a page": "",
    "a page that is turned": "",
    "invisible text over a picture": "",
    "text beyond the edge": "",
    "a part that pages share": "",
    "text that stands for drawn text": "",
    "a hidden layer": "",
    "the label of a page": "",
    "the name of a field": "",
    "the name around a field": "",
    "a field": "",
    "the second line of a field": "",
    "a field with a box for each letter": "",
    "a field on a page that no list names": "",
    "a field whose value is only drawn": "",
    "what people are told of a field": "",
    "a formatted value": "",
    "a value that is a stream": "",
    "a value by default": "",
    "a box that is checked": "",
    "the selected one of several buttons": "",
    "the choice of a list": "",
    "the second choice of a list": "",
    "an offer of a list": "",
    "the caption of a button": "",
    "who signed": "",
    "why it was signed": "",
    "a signature that is missing": "",
    "a value of XFA": "",
    "a note": "",
    "who wrote a note": "",
    "the subject of a note": "",
    "a reply": "",
    "a hidden note": "",
    "a formatted note": "",
    "a highlight": "",
    "a box of text": "",
    "a box of text that is only drawn": "",
    "a stamp": "",
    "a stamp that is only drawn": "",
    "what replaces removed text": "",
    "the address of a link": "",
    "the file that a link opens": "",
    "the name of a file on a page": "",
    "the name of an attached file": "",
    "what is said of an attached file": "",
    "a bookmark": "",
    "a bookmark below": "",
    "what is said of a picture": "",
    "text in the structure": "",
    "what an abbreviation means": "",
    "an attached file": "attachment",
    "a script": "script",
    "a picture": "picture",
    "a film": "video",
    "a sound": "sound",
    "a model": "3D model",
    "a scanned page": "scanned page",
}

_XFA = """<xdp:xdp xmlns:xdp="http://ns.adobe.com/xdp/"><xfa:datasets xmlns:xfa="http://www.xfa.org/schema/xfa-data/1.0/">
<xfa:data><form1><customer><city>[a value of XFA]</city></customer></form1></xfa:data></xfa:datasets></xdp:xdp>"""
_METADATA = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title><rdf:Alt>
<rdf:li xml:lang="x-default">[the title of the metadata]</rdf:li></rdf:Alt></dc:title></rdf:Description></rdf:RDF></x:xmpmeta>"""
_PAGE_TEXT = """BT /F1 12 Tf 72 700 Td ([a page]) Tj ET BT 3 Tr /F1 12 Tf 72 680 Td ([invisible text over a picture]) Tj ET
BT 0 Tr /F1 12 Tf 72 900 Td ([text beyond the edge]) Tj ET /Part Do
BT /F1 12 Tf 72 640 Td /Span << /ActualText ([text that stands for drawn text]) >> BDC (XyZ) Tj EMC ET
/OC /Layer BDC BT /F1 12 Tf 72 620 Td ([a hidden layer]) Tj ET EMC q 40 0 0 40 300 300 cm /Picture Do Q"""

_FONTS = "/Resources << /Font << /F1 {font} >> >>"
#: By name: an object, in which `{name}` refers to another and `[place]` is the word of that place.
_OBJECTS = {
    "catalog": "<< /Type /Catalog /Pages {pages} /AcroForm {form} /Outlines {outlines} /Metadata {metadata} "
    "/PageLabels << /Nums [0 << /S /D /P ([the label of a page]) >>] >> /Names << /EmbeddedFiles "
    "<< /Names [(a) {file}] >> /JavaScript << /Names [(s) << /S /JavaScript /JS ([a script]) >>] >> >> "
    "/OCProperties << /OCGs [{layer}] /D << /OFF [{layer}] >> >> /StructTreeRoot {structure} "
    "/Threads [<< /I << /Title ([the title of an article]) >> >>] >>",
    "info": "<< /Title ([the title]) /Author ([the author]) /Subject ([the subject]) /Keywords ([the keywords]) "
    "/Department ([a property of one's own]) >>",
    "pages": "<< /Type /Pages /Kids [{page} {turned} {scan}] /Count 3 >>",
    "page": "<< /Type /Page /Parent {pages} /MediaBox [0 0 612 792] /Contents {content} /Annots {annotations} "
    "/Resources << /Font << /F1 {font} >> /XObject << /Part {part} /Picture {picture} >> "
    "/Properties << /Layer {layer} >> >> >>",
    "content": f"<< >> stream {_PAGE_TEXT}",
    "turned": f"<< /Type /Page /Parent {{pages}} /MediaBox [0 0 612 792] /Rotate 90 /Contents {{turned_content}} {_FONTS} >>",
    "turned_content": "<< >> stream BT /F1 12 Tf 72 700 Td ([a page that is turned]) Tj ET",
    "scan": "<< /Type /Page /Parent {pages} /MediaBox [0 0 612 792] /Contents {scan_content} "
    "/Resources << /XObject << /Picture {picture} >> >> >>",
    "scan_content": "<< >> stream q 612 0 0 792 0 0 cm /Picture Do Q",
    "font": "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    "part": f"<< /Type /XObject /Subtype /Form /BBox [0 0 612 792] {_FONTS} >> stream "
    "BT /F1 12 Tf 72 660 Td ([a part that pages share]) Tj ET",
    "picture": "<< /Type /XObject /Subtype /Image /Width 1 /Height 1 /ColorSpace /DeviceGray "
    "/BitsPerComponent 8 >> stream A",
    "layer": "<< /Type /OCG /Name ([the name of a layer]) >>",
    "metadata": f"<< /Type /Metadata /Subtype /XML >> stream {_METADATA}",
    "outlines": "<< /First {bookmark} /Last {bookmark} >>",
    "bookmark": "<< /Title ([a bookmark]) /Parent {outlines} /Dest [{page} /Fit] /First {bookmark_below} /Last {bookmark_below} >>",
    "bookmark_below": "<< /Title ([a bookmark below]) /Parent {bookmark} /Dest [{turned} /Fit] >>",
    "file": "<< /Type /Filespec /F ([the name of an attached file].txt) /Desc ([what is said of an attached file]) "
    "/EF << /F {file_content} >> >>",
    "file_content": "<< /Type /EmbeddedFile >> stream [an attached file]",
    "structure": "<< /Type /StructTreeRoot /K [{figure}] >>",
    "figure": "<< /S /Figure /P {structure} /Pg {page} /Alt ([what is said of a picture]) /K [<< /S /Span "
    "/ActualText ([text in the structure]) /E ([what an abbreviation means]) >>] >>",
    "form": "<< /Fields [{around} {rich} {streamed} {default} {comb} {drawn} {checked} {radio} {choice} {list} {button} {signed} "
    "{unsigned}] /XFA [(datasets) {xfa}] >>",
    "xfa": f"<< >> stream {_XFA}",
    "around": "<< /T ([the name around a field]) /FT /Tx /Kids [{field}] >>",
    "field": "<< /Parent {around} /T ([the name of a field]) /TU ([what people are told of a field]) /Ff 4096 "
    "/V ([a field]\\r[the second line of a field]) /Kids [{widget}] >>",
    "widget": "<< /Type /Annot /Subtype /Widget /Parent {field} /Rect [0 0 9 9] >>",
    "comb": "<< /T (comb) /FT /Tx /Ff 16777216 /MaxLen 20 /V ([a field with a box for each letter]) >>",
    "rich": "<< /T (rich) /FT /Tx /RV (<body><p>[a formatted value]</p></body>) >>",
    "streamed": "<< /T (streamed) /FT /Tx /V {streamed_value} >>",
    "streamed_value": "<< >> stream [a value that is a stream]",
    "default": "<< /T (default) /FT /Tx /DV ([a value by default]) >>",
    "drawn": "<< /T (drawn) /FT /Tx /AP << /N {drawn_look} >> >>",
    "drawn_look": f"<< /Subtype /Form /BBox [0 0 99 99] {_FONTS} >> stream BT /F1 9 Tf ([a field whose value is only drawn]) Tj ET",
    "checked": "<< /T (box) /FT /Btn /V /[a box that is checked] /AP << /N << /[a box that is checked] {part} /Off {part} >> >> >>",
    "radio": "<< /T (radio) /FT /Btn /Ff 32768 /V /1 /Opt [(one) ([the selected one of several buttons])] /Kids "
    "[<< /Subtype /Widget /AP << /N << /0 {part} >> >> >> << /Subtype /Widget /AP << /N << /1 {part} >> >> >>] >>",
    "choice": "<< /T (choice) /FT /Ch /Ff 131072 /V (b) /Opt [[(a) ([an offer of a list])] [(b) ([the choice of a list])]] >>",
    "list": "<< /T (list) /FT /Ch /Ff 2097152 /V [(x) ([the second choice of a list])] >>",
    "button": "<< /T (send) /FT /Btn /Ff 65536 /MK << /CA ([the caption of a button]) >> >>",
    "signed": "<< /T (signature) /FT /Sig /V << /Type /Sig /Name ([who signed]) /Reason ([why it was signed]) >> >>",
    "unsigned": "<< /T ([a signature that is missing]) /FT /Sig >>",
    "orphan": "<< /Type /Annot /Subtype /Widget /FT /Tx /T (orphan) /V ([a field on a page that no list names]) >>",
    "annotations": "[{orphan} {widget} {note} {reply} {hidden} {rich_note} {highlight} {free} {free_drawn} {stamp} {stamp_drawn} "
    "{redaction} {link} {launch} {attachment} {film} {sound} {model}]",
    "note": "<< /Subtype /Text /Contents ([a note]) /T ([who wrote a note]) /Subj ([the subject of a note]) >>",
    "reply": "<< /Subtype /Text /IRT {note} /Contents ([a reply]) >>",
    "hidden": "<< /Subtype /Text /F 2 /Contents ([a hidden note]) >>",
    "rich_note": "<< /Subtype /Text /RC (<body><p>[a formatted note]</p></body>) >>",
    "highlight": "<< /Subtype /Highlight /QuadPoints [0 0 9 0 0 9 9 9] /Contents ([a highlight]) >>",
    "free": "<< /Subtype /FreeText /Contents ([a box of text]) >>",
    "free_drawn": "<< /Subtype /FreeText /AP << /N {free_look} >> >>",
    "free_look": f"<< /Subtype /Form /BBox [0 0 99 99] {_FONTS} >> stream BT /F1 9 Tf ([a box of text that is only drawn]) Tj ET",
    "stamp": "<< /Subtype /Stamp /Name /[a stamp] >>",
    "stamp_drawn": "<< /Subtype /Stamp /AP << /N {stamp_look} >> >>",
    "stamp_look": f"<< /Subtype /Form /BBox [0 0 99 99] {_FONTS} >> stream BT /F1 9 Tf ([a stamp that is only drawn]) Tj ET",
    "redaction": "<< /Subtype /Redact /OverlayText ([what replaces removed text]) >>",
    "link": "<< /Subtype /Link /A << /S /URI /URI (https://example.org/[the address of a link]) >> >>",
    "launch": "<< /Subtype /Link /A << /S /GoToR /F ([the file that a link opens].pdf) >> >>",
    "attachment": "<< /Subtype /FileAttachment /FS << /F ([the name of a file on a page].txt) /EF << /F {file_content} >> >> >>",
    "film": "<< /Subtype /Screen /A << /S /Rendition /R << /N (a film) >> >> >>",
    "sound": "<< /Subtype /Sound /Sound {file_content} >>",
    "model": "<< /Subtype /3D >>",
}


def build() -> MarkedFile:
    """Build the PDF."""
    return MarkedFile("application/pdf", assemble(_OBJECTS), _PLACES)


def assemble(objects: dict[str, str]) -> bytes:
    """Write objects as a file; `catalog` is its root, and `info` tells of it."""
    numbers = {name: number for number, name in enumerate(objects, start=1)}
    written, offsets = b"%PDF-1.7\n", []
    for number, template in enumerate(objects.values(), start=1):
        body = re.sub(r"\{(\w+)\}", lambda match: f"{numbers[match[1]]} 0 R", template)
        body = re.sub(r"\[([a-zA-Z][^\]\[/<>()]+)\]", _mark, body)
        offsets.append(len(written))
        written += b"%d 0 obj\n%s\nendobj\n" % (number, _encode(body))
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    trailer = f"/Size {len(objects) + 1} /Root {numbers['catalog']} 0 R" + (
        f" /Info {numbers['info']} 0 R" if "info" in numbers else ""
    )
    return (
        written
        + b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(objects) + 1, table)
        + b"trailer << %s >>\nstartxref\n%d\n%%%%EOF\n" % (trailer.encode(), len(written))
    )


def _mark(match: re.Match[str]) -> str:
    return mark_of(match[1]) if match[1] in _PLACES else match[0]


def _encode(body: str) -> bytes:
    """Write an object, with its stream compressed if it has one."""
    entries, separator, data = body.partition(" >> stream ")
    if not separator:
        return body.encode("latin-1")
    packed = zlib.compress(data.encode("latin-1"))
    length = len(packed)
    return b"%s /Filter /FlateDecode /Length %d >>\nstream\n%s\nendstream" % (entries.encode("latin-1"), length, packed)
