"""Documents with macros in every form that a program would open, made of a few honest ones.

What stays true: each has a name of its own, and differs from an honest document by its macros alone.
"""

import io
import os
import warnings
import zipfile
from collections.abc import Iterator, Mapping

from store.media_types.sample import HEAD_BYTES
from tests.unit.documents import OOXML, docx, packed, pptx, xlsx
from tests.unit.store.media_types import other_macro_forms
from tests.unit.store.media_types.package_edits import change

CONTENT_TYPES, DECLARATION = "[Content_Types].xml", '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
MICROSOFT, USUAL = "http://schemas.microsoft.com/office/2006/relationships", f"{OOXML}/relationships"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
STRICT = "http://purl.oclc.org/ooxml/officeDocument/relationships"
PROJECT_TYPE, PROJECT = "application/vnd.ms-office.vbaProject", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)
HONEST = {"word": docx("Hello"), "xl": xlsx({"A": [[1]]}), "ppt": pptx(("Title", "Body"))}
MAIN = {"word": "document.xml", "xl": "workbook.xml", "ppt": "presentation.xml"}
#: By the folder of a document: the types of main parts that may hold macros.
MACRO_TYPES = {
    "word": ("ms-word.document.macroEnabled.main", "ms-word.template.macroEnabledTemplate.main"),
    "xl": (
        "ms-excel.sheet.macroEnabled.main",
        "ms-excel.template.macroEnabled.main",
        "ms-excel.addin.macroEnabled.main",
        "ms-excel.sheet.binary.macroEnabled.main",
    ),
    "ppt": (
        "ms-powerpoint.presentation.macroEnabled.main",
        "ms-powerpoint.template.macroEnabled.main",
        "ms-powerpoint.slideshow.macroEnabled.main",
        "ms-powerpoint.addin.macroEnabled.main",
    ),
}
ENDINGS = {
    "word": (".docm", ".dotm", ".docx", ".doc", ".dot", ".rtf"),
    "xl": (".xlsm", ".xltm", ".xlam", ".xlsb", ".xlsx", ".xls"),
    "ppt": (".pptm", ".potm", ".ppsm", ".ppam", ".sldm", ".pptx"),
}

#: A name, a file's name, its declared type and its bytes.
Form = tuple[str, str, str | None, bytes]


def build_all() -> Iterator[Form]:
    """Build all forms."""
    for folder in HONEST:
        yield from (_unnamed(f"{folder}: {name}", content) for name, content in _office_forms(folder).items())
        yield from _named_forms(folder)
    yield from (_unnamed(name, content) for name, content in _other_office_forms().items())
    for kind in ("text", "spreadsheet", "presentation"):
        yield from (
            _unnamed(f"{kind}: {name}", content)
            for name, content in other_macro_forms.build_open_document_forms(kind).items()
        )
    for name, content in other_macro_forms.build_text_forms().items():
        yield from ((f"{name} as {ending}", f"a{ending}", "text/plain", content) for ending in (".txt", ".xml", ".doc"))
        yield _unnamed(name, content)
    yield from (_unnamed(name, content) for name, content in other_macro_forms.build_old_forms().items())


def override(part: str, content_type: str) -> tuple[str, str]:
    """The entry of a part in the list of content types."""
    return "</Types>", f'<Override PartName="{part}" ContentType="{content_type}"/>'


def relation(target: str, kind: str = f"{MICROSOFT}/vbaProject", mode: str = "") -> tuple[str, str]:
    """The entry of a relationship."""
    return (
        "</Relationships>",
        f'<Relationship Id="rM1" Type="{kind}" Target="{target}"{mode and f" TargetMode={mode!r}"}/>',
    )


def relations_of(folder: str) -> str:
    """The name of the main part's relationships."""
    return f"{folder}/_rels/{MAIN[folder]}.rels"


def _unnamed(name: str, content: bytes) -> Form:
    return name, "upload", None, content


def with_project(
    folder: str, part: str = "project.bin", *, target: str = "", types: tuple[str, str] | None = None
) -> bytes:
    """An honest document with a project of macros under this name."""
    edits = {
        relations_of(folder): relation(target or part),
        CONTENT_TYPES: types or override(f"/{folder}/{part}", PROJECT_TYPE),
    }
    return change(HONEST[folder], {f"{folder}/{part}": PROJECT}, edits)


def with_project_in_the_middle() -> bytes:
    """A document with macros that is so large that its two ends tell of none."""
    noise = os.urandom(HEAD_BYTES)
    parts = {"word/document.xml": "<x/>", "word/media/a": noise, "word/p.bin": PROJECT}
    table = f'<Relationships><Relationship Type="{MICROSOFT}/vbaProject" Target="p.bin"/></Relationships>'
    parts |= {"word/_rels/document.xml.rels": table, "word/media/b": noise}
    return packed({CONTENT_TYPES: "<Types/>"} | parts)


def _office_forms(folder: str) -> Mapping[str, bytes]:
    honest, relations = HONEST[folder], relations_of(folder)
    names = (
        "vbaProject.bin",
        "VBAPROJECT.BIN",
        "project.bin",
        "code.dat",
        "media/image1.png",
        "λ.bin",
        "a b.bin",
        "data.xml",
    )
    forms = {f"a part called {name}": with_project(folder, name) for name in names}
    forms |= {
        f"its type is {kind}": change(
            honest, edits={CONTENT_TYPES: override(f"/{folder}/{MAIN[folder]}", f"application/vnd.{kind}+xml")}
        )
        for kind in MACRO_TYPES[folder]
    }
    part = {f"{folder}/p.bin": PROJECT}
    typed = {CONTENT_TYPES: override(f"/{folder}/p.bin", PROJECT_TYPE)}
    related = {relations: relation("p.bin")}
    default = {CONTENT_TYPES: ("</Types>", f'<Default Extension="BIN" ContentType="{PROJECT_TYPE}"/>')}
    forms |= {
        "a type alone": change(honest, part, typed),
        "a type of an ending": change(honest, part, default),
        "a relationship alone": change(honest, part, related),
        "a type in capitals": change(honest, part, {CONTENT_TYPES: override(f"/{folder}/p.bin", PROJECT_TYPE.upper())}),
        "a type with a parameter": change(honest, part, {CONTENT_TYPES: override("/p", f" {PROJECT_TYPE}; a=b")}),
        "a name alone": change(honest, {f"{folder}/vbaProject.bin": PROJECT}),
        "a name with a backslash": change(honest, {f"{folder}\\sub\\vbaProject.bin": PROJECT}),
    }
    forms |= {
        f"a target {target}": change(honest, part, {relations: relation(target)})
        for target in ("p.bin", f"/{folder}/p.bin", f"../{folder}/p.bin", "%70.bin", "P.BIN", "&#112;.bin", "NULL")
    }
    kinds = {
        "strict": f"{STRICT}/vbaProject",
        "in capitals": f"{MICROSOFT}/VBAPROJECT",
        "with a slash": f"{MICROSOFT}/vbaProject/",
        "with references": f"{MICROSOFT}/vba&#x50;roject",
        "encoded": f"{MICROSOFT}/vba%50roject",
        "usual": f"{OFFICE}/vbaProject",
        "a control": f"{OFFICE}/control",
        "a binary control": f"{MICROSOFT}/activeXControlBinary",
        "a ribbon": f"{MICROSOFT}/ui/extensibility",
        "a newer ribbon": "http://schemas.microsoft.com/office/2007/relationships/ui/extensibility",
        "a signature": f"{MICROSOFT}/vbaProjectSignature",
        "VBA data": f"{MICROSOFT}/wordVbaData",
        "toolbars": f"{MICROSOFT}/attachedToolbars",
        "a macro sheet": f"{MICROSOFT}/xlMacrosheet",
        "an international macro sheet": f"{MICROSOFT}/xlIntlMacrosheet",
    }
    forms |= {
        f"related as {name}": change(honest, part, {relations: relation("p.bin", kind)}) for name, kind in kinds.items()
    }
    elsewhere = (
        "http://evil.example/a.dotm",
        "HTTPS://evil.example/a",
        "\\\\evil\\share\\a.dotm",
        "//evil/a",
        "file://evil/share/a.dotm",
        "file:///\\\\evil\\share\\a",
        "mhtml:http://evil.example!x",
        "ftp://evil.example/a",
        "ms-msdt:/id",
    )
    opened = ("attachedTemplate", "oleObject", "frame", "subDocument")
    forms |= {
        f"{kind} at {target}": change(honest, edits={relations: relation(target, f"{OFFICE}/{kind}", "External")})
        for kind in opened
        for target in elsewhere[: None if kind == opened[0] else 2]
    }
    return forms | _written_forms(folder)


def _written_forms(folder: str) -> Mapping[str, bytes]:
    """The same tables, written in other ways."""
    honest, relations = HONEST[folder], relations_of(folder)
    target, kind = "p.bin", f"{MICROSOFT}/vbaProject"
    table = (
        f'<Relationships xmlns="{PACKAGE}/relationships"><Relationship Id="a" Type="{kind}" '
        f'Target="{target}"/></Relationships>'
    )
    types = f'<Types xmlns="{PACKAGE}/content-types"><Override PartName="/p" ContentType="{PROJECT_TYPE}"/></Types>'
    prefixed = (
        f'<a:Relationships xmlns:a="{PACKAGE}/relationships"><a:Relationship a:Id="a" Type="{kind}" '
        f'Target="{target}"/></a:Relationships>'
    )
    entity = f'<!DOCTYPE a [<!ENTITY e "{kind}">]>' + table.replace(kind, "&e;")
    written: Mapping[str, bytes] = {
        "in UTF-16": table.encode("utf-16"),
        "in big UTF-16": b"\xfe\xff" + table.encode("utf-16-be"),
        "in UTF-16 with a declaration": DECLARATION.replace("UTF-8", "UTF-16").encode("utf-16")
        + table.encode("utf-16-le"),
        "with a mark": b"\xef\xbb\xbf" + (DECLARATION + table).encode(),
        "in Latin": b'<?xml version="1.0" encoding="windows-1252"?>' + table.encode(),
        "in UTF-7": b'<?xml version="1.0" encoding="UTF-7"?>' + table.encode("utf-7"),
        "with prefixes": prefixed.encode(),
        "with an entity": entity.encode(),
        "in single quotes": table.replace('"', "'").replace("Type=", "\n\tType \n=\r\n").encode(),
        "after a comment": b"<!-- <Relationships/> -->" + table.encode(),
        "with tags in between": table.replace("<Relationship ", "<x><Relationship ")
        .replace("/></", "/></x></")
        .encode(),
    }
    part: dict[str, bytes | str] = {f"{folder}/p.bin": PROJECT}
    forms = {f"related {name}": change(honest, part | {relations: content}) for name, content in written.items()}
    forms |= {
        "typed in UTF-16": change(honest, part | {CONTENT_TYPES: types.encode("utf-16")}),
        "typed with prefixes": change(
            honest,
            part | {CONTENT_TYPES: types.replace("<", "<a:").replace("<a:/", "</a:").replace("xmlns=", "xmlns:a=")},
        ),
        "related from the top": change(honest, part, {"_rels/.rels": relation(f"{folder}/p.bin")}),
        "related from another part": change(honest, part | {"customXml/_rels/item1.xml.rels": table}),
        "related in capitals": change(honest, part | {f"{folder.upper()}/_RELS/{MAIN[folder].upper()}.RELS": table}),
        "related behind a backslash": change(honest, part | {f"{folder}\\_rels\\styles.xml.rels": table}),
        "related in pieces": change(honest, part | {f"{folder}/_rels/styles.xml.rels/[0].last.piece": table}),
        "typed in pieces": change(honest, part | {f"{CONTENT_TYPES}/[0].last.piece": types}),
        "typed in capitals": change(honest, part | {CONTENT_TYPES.upper(): types}),
        "typed by an encoded name": change(honest, part | {"%5BContent_Types%5D.xml": types}),
    }
    twice, once_more = io.BytesIO(change(honest, part)), io.BytesIO(change(honest, part))
    for out, name, content in ((twice, CONTENT_TYPES, types), (once_more, relations, table)):
        with zipfile.ZipFile(out, "a") as archive, warnings.catch_warnings(action="ignore"):
            archive.writestr(zipfile.ZipInfo(name), content)
    forms["typed twice"], forms["related twice"] = twice.getvalue(), once_more.getvalue()
    forms["behind another archive"] = packed({"a": "b"}) + with_project(folder)
    return forms


def _named_forms(folder: str) -> Iterator[Form]:
    """A project under another name, in a document that is called and declared in many ways."""
    content = with_project(folder)
    plain = {"word": "wordprocessingml.document", "xl": "spreadsheetml.sheet", "ppt": "presentationml.presentation"}[
        folder
    ]
    for ending in ENDINGS[folder]:
        for declared in (None, "application/octet-stream", f"{OOXML}.{plain}", "application/msword", "application/zip"):
            yield f"{folder}: invoice{ending} declared {declared}", f"invoice{ending}", declared, content


def _other_office_forms() -> Mapping[str, bytes]:
    project = {"p.bin": PROJECT}
    types = f'<Types><Override PartName="/p.bin" ContentType="{PROJECT_TYPE}"/></Types>'
    sheet = '<Types><Override PartName="/xl/s.xml" ContentType="application/vnd.ms-excel.macrosheet+xml"/></Types>'
    visio = (
        '<Types><Override PartName="/visio/document.xml" '
        'ContentType="application/vnd.ms-visio.drawing.macroEnabled.main+xml"/></Types>'
    )
    binary = (
        '<Types><Default Extension="bin" '
        'ContentType="application/vnd.ms-excel.sheet.binary.macroEnabled.main"/></Types>'
    )
    return {
        "elsewhere in a package": packed({CONTENT_TYPES: types, "a/b.xml": "<x/>"} | project),
        "a macro sheet": packed({CONTENT_TYPES: sheet, "xl/workbook.xml": "<x/>", "xl/s.xml": "<x/>"}),
        "a macro sheet by its folder": packed(
            {CONTENT_TYPES: "<Types/>", "xl/workbook.xml": "<x/>", "xl/macrosheets/s.xml": "<x/>"}
        ),
        "a binary workbook": packed({CONTENT_TYPES: binary, "xl/workbook.bin": b"x"}),
        "a drawing": packed({CONTENT_TYPES: visio, "visio/document.xml": "<x/>"}),
        "without a table that can be read": packed({CONTENT_TYPES: b"\x4c\x6f\xa7\x94", "word/document.xml": "<x/>"}),
        "with a table that breaks off": packed({CONTENT_TYPES: types[:40], "word/document.xml": "<x/>"}),
    }
