"""What a sender says of a text: whatever a browser claims for one that does nothing, and no claim that is a lie."""

import pytest

from conversation.errors import FileRejected
from store.media_types.examine import examine
from store.settings import Settings

ALLOWED = Settings.model_fields["attachment_types"].default
#: Names of text that people bring, each with what browsers, systems and clients claim for it; `-` is nothing.
CLAIMS = """
app.ts video/mp2t video/vnd.dlna.mpeg-tts
App.tsx application/x-tiled-tsx
index.php application/x-httpd-php application/x-php
main.rs application/rls-services+xml
mail.eml message/rfc822
paper.tex application/x-tex application/x-latex
key.pem application/x-x509-ca-cert
ca.crt application/x-x509-ca-cert
ca.cer application/pkix-cert
key.asc application/pgp-keys
key.key application/x-iwork-keynote-sffkey
a.sig application/pgp-signature
rows.jsonl application/jsonl application/json
rows.ndjson application/x-ndjson
map.geojson application/geo+json
run.log application/octet-stream application/x-log
php.ini application/x-wine-extension-ini
Cargo.toml application/toml
dump.sql application/sql application/x-sql
film.srt application/x-subrip
film.vtt text/vtt
film.sub image/vnd.dvb.subtitle
cal.ics text/calendar
me.vcf text/vcard
a.diff text/x-diff
a.patch text/x-patch
Card.vue application/x-vue
Card.svelte -
main.dart application/vnd.dart
Main.kt text/x-kotlin
main.swift text/x-swift
main.go text/x-go
a.lua application/x-lua
a.r text/x-r-source
a.jl text/x-julia
a.m text/x-matlab application/vnd.wolfram.mathematica.package
a.mm text/x-troff-mm
a.pl application/x-perl
a.sh application/x-sh application/x-shellscript
a.rtf application/rtf
a.csv application/vnd.ms-excel application/csv
a.tsv application/vnd.ms-excel
a.yaml application/octet-stream
a.yml application/x-yaml
a.md application/octet-stream
a.js application/x-javascript application/ecmascript
a.xsl application/xslt+xml
a.wsdl application/wsdl+xml
a.plist application/x-plist
a.gpx application/gpx+xml
a.kml application/vnd.google-earth.kml+xml
a.bib application/x-bibtex
a.org application/vnd.lotus-organizer
a.rst text/x-rst
a.adoc text/asciidoc
Makefile text/x-makefile
Dockerfile -
.env application/x-envoy
list.m3u audio/x-mpegurl
a.m3u8 application/vnd.apple.mpegurl
a.ps application/postscript
a.dxf image/vnd.dxf
a.xpm image/x-xpixmap
a.pdb chemical/x-pdb
a.obj model/obj
a.step model/step
a.torrents application/x-whatever-it-is
a.p7 application/pkcs8
a.ipynb-part application/x-ipynb+json
a.wat */*
a.pot application/vnd.ms-powerpoint
graph.dot application/msword
"""


@pytest.mark.parametrize(
    ("name", "claim"),
    [(name, claim) for name, *claims in map(str.split, CLAIMS.strip().splitlines()) for claim in claims],
)
@pytest.mark.parametrize(
    "content", [b"a, b; c = 1\n{'x': [1, 2]}\n", "строка текста, ещё одна\n".encode("cp1251")], ids=["ascii", "cp1251"]
)
def test_text_that_does_nothing_is_accepted_whatever_is_claimed_for_it(name: str, claim: str, content: bytes) -> None:
    if claim == "application/json":
        content = b'{"a": 1}\n{"a": 2}\n'

    media_type = examine(name, content, claim.removeprefix("-"), max_bytes=1000, allowed=ALLOWED)

    assert media_type in ("text/plain", "text/csv", "text/tab-separated-values", "text/markdown")


@pytest.mark.parametrize(
    ("content", "accepted"),
    [
        (b'// of the editor\n{"a": 1, /* one */}', True),
        (b'{"a": 1}\n{"a": 2}\n', True),
        (b"[1, 2,]", True),
        (b"[1, 2", False),
        (b"not json", False),
    ],
)
def test_what_people_call_json_is_text_and_what_breaks_off_is_refused(content: bytes, *, accepted: bool) -> None:
    if accepted:
        assert examine("a.json", content, "application/json", max_bytes=1000, allowed=ALLOWED) == "text/plain"
    else:
        with pytest.raises(FileRejected, match="is called application/json, but its bytes are text/plain"):
            examine("a.json", content, "application/json", max_bytes=1000, allowed=ALLOWED)


@pytest.mark.parametrize(
    ("name", "claim"),
    [
        ("a.png", "image/png"), ("a.png", None), ("a.png", "application/x-picture"), ("a.bmp", "image/bmp"),
        ("a.pdf", "application/pdf"), ("a.pdf", "application/x-unknown"), ("a.docx", None),
        ("a.docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        ("a.doc", "application/msword"), ("a.xls", "application/vnd.ms-excel"), ("a.zip", "application/zip"),
        ("a.mp3", "audio/mpeg"), ("a.mp4", "video/mp4"), ("a.ttf", "font/ttf"), ("a.jar", "application/java-archive"),
        ("a.exe", "application/x-msdownload"), ("a.hta", "application/hta"), ("a.bat", "application/x-bat"),
        ("a.bat", "application/x-msdos-program"), ("a.vbs", "application/x-vbs"), ("a.url", "application/x-mswinurl"),
        ("a.desktop", "application/x-desktop"), ("a.ps1", "application/x-powershell"), ("a.svg", "image/svg+xml"),
    ],
)  # fmt: skip
def test_text_that_is_called_what_is_shown_unpacked_played_or_run_is_refused(name: str, claim: str | None) -> None:
    with pytest.raises(FileRejected, match="is called"):
        examine(name, b"text that does nothing\n", claim, max_bytes=1000, allowed=("*/*",))


@pytest.mark.parametrize(
    ("name", "claim"),
    [("Card.vue", "text/x-vue"), ("index.php", "application/x-httpd-php"), ("Card.vue", ""), ("Card.vue", None)],
)
def test_a_page_stays_a_page_whatever_program_wrote_it(name: str, claim: str | None) -> None:
    content = (
        b"<template><p>hi</p></template>\n<script>go()</script>" if claim != "text/x-vue" else b"<script>1</script>"
    )
    if name == "index.php":
        content = b"<?php $a = 1 ?>\n<html><body></body></html>"

    expected = "text/plain" if content.startswith(b"<template>") else "text/html"
    assert examine(name, content, claim, max_bytes=1000, allowed=ALLOWED) == expected


@pytest.mark.parametrize("name", ["a.bin", "upload", "a.dat"])
def test_a_page_in_an_old_encoding_is_told_by_its_markup(name: str) -> None:
    page = "<html><body>Добро пожаловать на страницу</body></html>".encode("cp1251")

    assert examine(name, page, None, max_bytes=1000, allowed=ALLOWED) == "text/html"
    with pytest.raises(FileRejected, match="is called text/plain, but its bytes are text/html"):
        examine(name, page, "text/plain", max_bytes=1000, allowed=ALLOWED)


def test_text_with_zeros_is_refused_and_never_called_damaged() -> None:
    with pytest.raises(FileRejected, match="is called text/plain, but its bytes are not") as refused:
        examine("a.log", b"line\n" + bytes(3) + b"line\n", "text/plain", max_bytes=1000, allowed=ALLOWED)
    assert "save it as UTF-8" in str(refused.value)
    assert "damaged" not in str(refused.value)
