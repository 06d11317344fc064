"""A page is read as a browser shows it; what it hides is counted, and no shape of it stops the reader."""

import time

import pytest

from agent.files.readers.page import html as page
from agent.files.readers.sections import TextSections, Unreadable


def read(content: bytes | str, seconds: float = 30):
    content = content.encode() if isinstance(content, str) else content
    return page.read(content, TextSections(time.monotonic() + seconds, 100_000))


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("<h2>Head <i>ing</i></h2><p>one\n two</p>three", "## Head ing\none two\nthree"),
        ("<ul><li>a<ul><li>b</ul><li><p>c</p><p>d</p></ul>", "- a\n  - b\n- c\n  d"),
        ("<ol start=3><li>a<li value=7>b<li>c</ol>", "3. a\n7. b\n8. c"),
        ("<ol start=x><li value=999999999999>a</ol>", "1. a"),
        ("<blockquote><p>a<p>b</blockquote>", "> a\n> b"),
        ("<pre>  a\n\n\tb  </pre>c", "  a\n\n\tb\nc"),
        ("a<br>b<hr>c", "a\nb\nc"),
        ("<table><tr><th>a<th>b<tr><td>1<td>2</table>", "a | b\n1 | 2"),
        ("<table><tr><td rowspan=2>a<td>b<tr><td>c</table>", "a | b\n | c"),
        ("<table><tr><td colspan=2>a<td>b<tr><td>1<td>2<td>3</table>", "a |  | b\n1 | 2 | 3"),
        ("<table><tr><td rowspan=2 colspan=2>a<td>b<tr><td>c</table>", "a |  | b\n |  | c"),
        ("<table><tr><td rowspan=0 colspan=x>a<td>b</table>", "a | b"),
        ("<table><tr><td><p>a</p><p>b</p><td><ul><li>c</ul></table>", "a / b | - c"),
        ("<table><tr><td><table><tr><td>a<td>b</table></table>", "a | b"),
        ("<table><tr><td><tr><td>Visible text</td></tr></td></tr></table>", "Visible text"),
        ("<table><tr><td></td><td>b</td><td></td></tr></table>", " | b"),
        (f"<table><tr><td>{'a ' * 400}<td>b</table>", f"{'a ' * 399}a\nb"),
        ("<td>no table</td><p>x", "no table\nx"),
        ("<a href='https://e.org/x'>text</a>", "[text](https://e.org/x)"),
        ("<a href='https://e.org'>https://e.org</a> <a href='mailto:a@e.org'>a@e.org</a>", "https://e.org a@e.org"),
        ("<a href='#top'>up</a> <a href='report.pdf'>get</a>", "up [get](report.pdf)"),
        ("<a href='/x'><p>a<p>b</a>", "a\nb\n(/x)"),
        ("<a href='/x' title='Home'><img src=x></a>", "[Home](/x)"),
        ("10<sup>6</sup> 1<sup>st</sup> <s>5</s> <q>a</q>", "10^6 1st ~~5~~ “a”"),
        ("<ruby>漢<rp>(</rp><rt>kan</rt><rp>)</rp></ruby>", "漢(kan)"),
        ("<math><mfrac><mi>a</mi><mi>b</mi></mfrac></math>", "a/b"),
        ("<math><mi>x</mi><annotation encoding='application/x-tex'>x_1</annotation></math>", "$x_1$"),
        ("<svg><title>t</title><text>a<tspan>b</tspan></text></svg>", "[Drawing: t; ab]"),
        ("<input type=checkbox checked> a <input type=radio> b", "[x] a ( ) b"),
        ("<label>Name</label><input value=Bob placeholder=full>", "Name [Bob] (full)"),
        ("<select><option>a<option selected>b</select>", "[ ] a [x] b"),
        ("<textarea>a\n  b</textarea>", "a\n  b"),
        ("a&shy;b &zwnj;&nbsp;&zwnj; c&nbsp;d", "ab c d"),
        ("<title></title><p>x", "x"),
        ("<head>\n <title>a\n b</title>\n<meta name=author content='c  d'></head>x", "Title: a b\nAuthor: c d\nx"),
        ("<frameset><frame src=a.html><noframes>b</noframes></frameset>", "[Embedded page: a.html] b"),
        ("<plaintext>a <b>", "a <b>"),
        ("<my-tag>a</my-tag><o:p>b</o:p>", "ab"),
        ("<!-- > --><p>a<!-->b", "ab"),
    ],
)
def test_markup_is_shown_in_lines(markup: str, text: str) -> None:
    assert read(markup)["text"] == text


@pytest.mark.parametrize(
    ("markup", "is_hidden"),
    [
        ("<p hidden>x", True),
        ("<p style='DISPLAY : none !important'>x", True),
        ("<p style='visibility:hidden'>x", True),
        ("<p style='opacity:0'>x", True),
        ("<p style='opacity:0.5'>x", False),
        ("<p style='position:absolute; left:-9999px'>x", True),
        ("<p style='margin-left:-9px; border-left:-100px'>x", False),
        ("<div style='font-size:0'>x</div>", True),
        ("<div style='font-size:0'><p style='font-size:12px'>x</p></div>", False),
        ("<div style='max-height:0;overflow:hidden'>x</div>", True),
        ("<style>.a,.b{display:none}</style><p class='c b'>x", True),
        ("<style>#a{display:none}</style><p id=a>x", True),
        ("<style>.tab{display:none} .tab.on{display:block}</style><p class=tab>x", False),
        ("<style>@media print{.a{display:none}}</style><p class=a>x", False),
        ("<style>.a{display:none} @media screen{.a{display:block}}</style><p class=a>x", False),
        ("<style>.b .a{display:none}</style><p class=a>x", False),
        ("<details>x</details>", False),
        ("<dialog>x</dialog>", True),
        ("<dialog open>x</dialog>", False),
        ("<p aria-hidden=true>x", False),
    ],
)
def test_text_is_hidden_where_a_browser_hides_it(markup: str, *, is_hidden: bool) -> None:
    result = read(f"<p>y</p>{markup}")

    assert result["text"] == ("y" if is_hidden else "y\nx")
    assert result["left_out"].get("hidden passage", 0) == is_hidden


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("<p>Köln".encode(), "Köln"),
        ("<p>Köln".encode("utf-16"), "Köln"),
        (b"<meta charset=windows-1251><p>\xcf\xf0\xe8", "При"),
        (b"<meta http-equiv=content-type content='text/html; charset=shift_jis'><p>\x93\xfa\x96\x7b", "日本"),
        (b"<?xml version='1.0' encoding='iso-8859-1'?><html xmlns='x'><title/><p>caf\xe9<a/>&nbsp;b</p>", "café b"),
        (b"<?xml version='1.0'?><html xmlns='x'><p><![CDATA[a < b]]></p></html>", "a < b"),
        (b"<meta charset=unheard-of><p>x", "x"),
        (b"<p>a\x00b\x01c", "abc"),
    ],
)  # fmt: skip
def test_a_page_of_any_encoding_is_read(content: bytes, text: str) -> None:
    assert read(content)["text"] == text


@pytest.mark.parametrize("content", [b"", b"<!doctype html>", b" \n", b"<p> </p>"])
def test_a_page_without_text_is_called_that(content: bytes) -> None:
    with pytest.raises(Unreadable, match="no readable text"):
        read(content)


def test_a_page_of_pictures_alone_says_how_many() -> None:
    result = read("<img src=a><img src=b>")

    assert "no readable text" in result["problem"]
    assert result["left_out"] == {"picture": 2}


@pytest.mark.parametrize(
    "markup",
    [
        "<div>" * 100_000 + "x",
        "<b>x<i>" * 20_000,
        "<ul><li>x" * 900,
        "<table><tr><td>x" * 500,
        "<table>" + "<tr><td rowspan=99999 colspan=99999>x" * 300,
        "<style>" + ".a{display:none}@media x{" * 20_000 + "</style><p>x",
        "<a href=x>x" * 20_000,
        "<iframe srcdoc='" + "&lt;iframe srcdoc=&quot;" * 50 + "'></iframe><p>x",
        "<!-- a -->x" * 10_000,
        "<p " + "a=b " * 200_000 + ">x",
    ],
    ids=["deep", "unclosed", "lists", "tables", "spans", "styles", "links", "frames", "comments", "attributes"],
)
def test_no_shape_of_a_page_stops_its_reader(markup: str) -> None:
    assert "x" in read(markup)["text"]


def test_a_page_that_takes_too_long_is_shown_as_far_as_it_was_read() -> None:
    result = read("<p>hello</p>" * 100_000, seconds=0)

    assert result["remarks"] == ["Only the beginning of a page was read: it takes too much time."]
