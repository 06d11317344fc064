"""What an operating system would run is kept and read, and is saved under no name by which it would be run."""

import gzip
import re
from collections.abc import Iterator
from urllib.parse import unquote

import pytest

from conversation.attachment import Attachment
from conversation.errors import FileRejected, InvalidInput
from store.blobs.download_headers import content_disposition, served_type
from store.media_types.examine import examine_file
from store.settings import Settings
from tests.tries import check_tries
from tests.unit.documents import docx, packed, png

ALLOWED = (*Settings.model_fields["attachment_types"].default, "*/*")
#: Endings that Windows, macOS, Linux or what is installed there opens by running, installing or mounting the file.
_ENDINGS = """
.hta .bat .cmd .com .exe .scr .pif .cpl .msc .msi .msp .mst .msix .appx .appxbundle .application .appref-ms
.gadget .ps1 .ps1xml .ps2 .psc1 .psd1 .psm1 .msh .mshxml .vb .vbs .vbe .js .jse .mjs .cjs .jsx .ws .wsf .wsc
.wsh .sct .reg .inf .ins .isp .its .job .url .website .webloc .inetloc .fileloc .desktop .directory .lnk .scf
.search-ms .searchconnector-ms .library-ms .settingcontent-ms .appcontent-ms .theme .themepack .deskthemepack
.diagcab .diagpkg .mht .mhtml .xht .xhtml .svgz .swf .command .tool .terminal .workflow .scpt .scptd
.applescript .app .pkg .mpkg .dmg .sh .bash .zsh .ksh .csh .fish .run .bin.sh .deb .rpm .appimage .snap
.flatpakref .py .pyw .pyc .pyo .pyz .pyzw .rb .rbw .pl .pm .plx .php .phar .lua .tcl .tk .awk .ahk .au3 .groovy
.kts .csx .fsx .ipa .apk .jar .war .jnlp .class .xll .wll .xlam .xlsm .xlsb .xltm .xla .docm .dotm .pptm .potm
.ppam .ppsm .sldm .iqy .oqy .rqy .dqy .odc .slk .dde .accde .accdb .mdb .mde .ade .adp .mam .maw .mda .cab .iso
.img .vhd .vhdx .udf .chm .hlp .cnt .grp .prf .rdp .ica .vpn .pol .osd .xbap .vsix .crx .xpi .oxt .air .rgs .shb
.shs .u3p .vbscript .ws1 .xnk .cer .crt .der .p12 .pfx .torrent .ps .eps .pcd .csproj .sln .vcxproj .gradle .ini
.conf .cfg
"""
LAUNCHED = frozenset(_ENDINGS.split())
SHOWN = (".png", ".pdf", ".zip", ".docx")
SCRIPT = b"@echo off\r\ncalc.exe\r\n"
#: Contents, each as somebody would call it by an ending that is launched.
CONTENTS = {
    "a shell": b"#!/bin/sh\nrm -rf ~\n",
    "a shell behind a mark": b"\xef\xbb\xbf#!/bin/sh\nid\n",
    "a shell behind a line": b"\n #!/bin/sh\nid\n",
    "a shell in UTF-16": "#!/bin/sh\nid\n".encode("utf-16"),
    "an interpreter": b"#!/usr/bin/env -S node --x\n1\n",
    "a registry": "Windows Registry Editor Version 5.00\r\n[HKEY_CURRENT_USER\\a]\r\n".encode("utf-16"),
    "a shortcut": b"[InternetShortcut]\r\nURL=file:///c:/windows/system32/calc.exe\r\n",
    "a starter": b"[Desktop Entry]\nExec=id\n",
    "an application of HTML": b"<html><hta:application><script language=vbscript>x</script></html>",
    "a page": (
        b"MIME-Version: 1.0\r\nFrom: a\r\nSubject: b\r\nDate: c\r\nContent-Type: text/html\r\n\r\n<script>1</script>"
    ),
    "settings": b'<?xml version="1.0"?><PCSettings><DeepLink>calc.exe</DeepLink></PCSettings>',
    "a list": b'{"a": "calc.exe"}',
    "a query": b"WEB\r\n1\r\nhttp://evil.example\r\n",
    "a sheet": b'ID;PWXL;N;E\r\nC;X1;Y1;EEXEC("calc.exe")\r\nE\r\n',
    "a picture of a script": png(1, 1)[:33] + b"\r\n" + SCRIPT,
    "a packed drawing": gzip.compress(b"<svg onload='1'/>"),
    "a packed program": packed({"a/B.class": b"\xca\xfe\xba\xbe"}),
    "a document": docx("x"),
}
TABLES = (
    "=cmd|' /C calc'!A0",
    "a,=cmd|'/c calc'!A0",
    "+cmd|' /C calc'!A0",
    "@SUM(cmd|'/c calc'!A0)",
    "-2+3+cmd|' /C calc'!D2",
    "\"=MSEXCEL|'\\..\\..\\cmd.exe /c calc'!''\"",
    "=10+20+cmd|' /C calc'!A0",
    "ID;PWXL",
    "x\ty\n1\t=rundll32|'a'!B",
    "=DDE|a!b",
)


def save_name(filename: str, content: bytes, declared: str | None = None) -> str | None:
    """The name under which a browser saves a file; None where the file is refused."""
    try:
        file = examine_file(
            Attachment(filename=filename, content=content, media_type=declared), max_bytes=10**7, allowed=ALLOWED
        )
    except (FileRejected, InvalidInput):
        return None
    header = content_disposition(file.filename, str(file.media_type), inline=True)
    assert header.startswith("attachment; ") or served_type(str(file.media_type)) == "image/png"
    plain, encoded = re.findall(r"filename=\"([^\"]+)\"; filename\*=UTF-8''(\S+)", header)[0]
    assert file.download_name == unquote(encoded)
    assert plain.rpartition(".")[2] == unquote(encoded).rpartition(".")[2]
    return unquote(encoded)


def is_launched(name: str) -> bool:
    """Whether a system would run a file of this name, or take the name for something other than a new file."""
    plain = name.lower().rstrip(". ")
    is_odd = plain != name.lower() or plain.startswith(".") or ":" in plain or len(name.encode()) > 255
    return (
        is_odd
        or any(plain.endswith(ending) for ending in LAUNCHED)
        or bool(re.match(r"(con|nul|aux|com1)(\.|$)", plain))
    )


def list_names(ending: str) -> Iterator[str]:
    """Names that end in an ending, or seem not to."""
    yield from (
        f"a{ending}",
        f"A{ending.upper()}",
        f"a.txt{ending}",
        f"a{ending} ",
        f"a{ending}. .",
        f"a{ending}::$DATA",
        f"a.pdf{' ' * 60}{ending}",
    )
    yield from (
        f"a{ending}\u202etxt.",
        f"a\u200b{ending}\u200b",
        f"CON{ending}",
        f"{ending}",
        f"{'x' * (250 - len(ending))}{ending}",
        f"a{ending}\n",
        f"a\uff0e{ending[1:]}{ending}",
    )


def test_nothing_is_saved_as_what_a_system_would_run() -> None:
    given = [(name, SCRIPT, None) for ending in sorted(LAUNCHED) for name in list_names(ending)]
    given += [(f"a{ending}", content, None) for ending in sorted(LAUNCHED) for content in CONTENTS.values()]
    given += [(f"a{ending}", SCRIPT, "text/plain") for ending in sorted(LAUNCHED)]
    given += [(f"a{ending}", SCRIPT, "text/plain") for ending in SHOWN]

    saved = [(name, save_name(name, content, declared)) for name, content, declared in given]
    saved += [(name, save_name(name, table.encode())) for table in TABLES for name in ("a.csv", "a.tsv", "a.tab")]
    launched = [
        (name, kept)
        for name, kept in saved
        if kept
        and (is_launched(kept) or (kept.endswith((*SHOWN, ".csv", ".tsv", ".tab")) and name.endswith(kept[-4:])))
    ]

    assert launched == []
    check_tries("text and files under names that a system would run", tries=len(saved), successes=len(launched))


@pytest.mark.parametrize(
    ("filename", "media_type", "saved"),
    [
        ("main.py", "text/plain", "main.py.txt"),
        ("run.sh", "text/plain", "run.sh.txt"),
        ("a.js", "text/plain", "a.js.txt"),
        ("main.rs", "text/plain", "main.rs"),
        ("Makefile", "text/plain", "Makefile.txt"),
        ("notes.md", "text/markdown", "notes.md"),
        ("a.csv", "text/csv", "a.csv"),
        ("a.json", "application/json", "a.json"),
        ("page.html", "text/html", "page.html"),
        ("page.hta", "text/html", "page.hta.txt"),
        ("a.eml", "message/rfc822", "a.eml"),
        ("a.mht", "message/rfc822", "a.mht.txt"),
        ("scan", "image/png", "scan"),
        ("photo.jpg", "image/png", "photo.jpg"),
        ("photo.exe", "image/png", "photo.exe.png"),
        ("a.mp3", "audio/mpeg", "a.mp3"),
        ("a.docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", "a.docx"),
        ("a.docm", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", "a.docm.docx"),
        ("a.docm", "application/vnd.ms-word.document.macroenabled.12", "a.docm"),
        ("a.pages", "application/zip", "a.pages"),
        ("a.jar", "application/zip", "a.jar.zip"),
        ("a.dat", "application/octet-stream", "a.dat.bin"),
        ("a.ipynb", "application/x-ipynb+json", "a.ipynb"),
        ("a.svgz", "application/gzip", "a.svgz.gz"),
    ],
)
def test_a_name_keeps_an_ending_that_is_shown_and_fits(filename: str, media_type: str, saved: str) -> None:
    assert Attachment(filename=filename, media_type=media_type, sha256="a" * 64).download_name == saved


@pytest.mark.parametrize("filename", ["main.py", "run.sh", "app.js", "setup.bat", "a.ps1", "a.reg", "Makefile"])
def test_source_code_is_accepted_as_text(filename: str) -> None:
    settings = Settings.model_fields["attachment_types"].default
    file = Attachment(filename=filename, content=b"#!/bin/sh\necho hi\n", media_type="text/plain")

    assert examine_file(file, max_bytes=1000, allowed=settings).media_type == "text/plain"
