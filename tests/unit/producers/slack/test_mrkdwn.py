"""Slack's markup: read as plain text, and written without a mention of anybody."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.slack.mrkdwn import read_mrkdwn, split_mrkdwn, to_mrkdwn


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("<@U0BOT> Where is my order?", "Where is my order?"),
        ("ask <@U0BOB> or <@U0EVE|eve>", "ask @U0BOB or @eve"),
        ("in <#C0SALES|sales>, <!channel>", "in #sales, @channel"),
        ("<!subteam^S012|@ops> <!here>", "@ops @here"),
        ("see <https://a.example/b?x=1&amp;y=2|the page>", "see the page (https://a.example/b?x=1&y=2)"),
        ("see <https://a.example>", "see https://a.example"),
        ("<mailto:ann@a.example|ann@a.example>", "ann@a.example"),
        ("1 &lt; 2 &amp;&amp; 3 &gt; 2, &amp;lt;", "1 < 2 && 3 > 2, &lt;"),
    ],
)
def test_what_people_write_is_read_as_plain_text(written: str, plain: str) -> None:
    assert read_mrkdwn(written, bot_user_id="U0BOT") == plain


@pytest.mark.parametrize(
    ("markdown", "mrkdwn"),
    [
        ("**bold** and *italic* and ~~gone~~", "*bold* and _italic_ and ~gone~"),
        ("__bold__, 2 * 3 * 4, a_b_c", "*bold*, 2 * 3 * 4, a_b_c"),
        ("# The *title*\ntext", "*The _title_*\ntext"),
        ("- one\n  * two\n+ three", "• one\n  • two\n• three"),
        ("[a page](https://a.example/b?x=1&y=2)", "<https://a.example/b?x=1&amp;y=2|a page>"),
        ("[run](javascript:alert(1))", "[run](javascript:alert(1))"),
        ("<!channel> <@U0ANN> a < b && c", "&lt;!channel&gt; &lt;@U0ANN&gt; a &lt; b &amp;&amp; c"),
        ("`**x** <y>` and **z**", "`**x** &lt;y&gt;` and *z*"),
        ("```python\nif a < b:\n    **c\n```\nend", "```\nif a &lt; b:\n    **c\n```\nend"),
        ("```\nnot yet", "```\nnot yet\n```"),
        ("1. one\n2. two", "1. one\n2. two"),
        ("[<!channel|x>](https://a.example)", "<https://a.example|&lt;!channel¦x&gt;>"),
    ],
)
def test_an_agents_markdown_becomes_slacks_markup(markdown: str, mrkdwn: str) -> None:
    assert to_mrkdwn(markdown) == mrkdwn


@given(st.text(alphabet="<>!@#&;|*_~`[]()h:/ab\n ", max_size=300))
def test_nothing_that_an_agent_writes_mentions_anybody(markdown: str) -> None:
    written = to_mrkdwn(markdown)

    for sign in "@#!":
        assert f"<{sign}" not in written


def test_a_short_text_is_one_message() -> None:
    assert split_mrkdwn("hello\nworld") == ["hello\nworld"]
    assert split_mrkdwn("") == []


def test_a_long_text_is_parted_between_paragraphs() -> None:
    paragraphs = [f"{number} " + "word " * 60 for number in range(20)]

    parts = split_mrkdwn("\n\n".join(paragraphs), max_chars=1000)

    assert all(len(part) <= 1000 for part in parts)
    assert "\n\n".join(parts).split("\n\n") == paragraphs


def test_code_that_is_parted_is_code_in_both_parts() -> None:
    parts = split_mrkdwn("```\n" + "x = 1\n" * 100 + "```\nend", max_chars=200)

    assert all(part.count("```") == 2 for part in parts[:-1])
    assert all(len(part) <= 200 for part in parts)


@given(st.text(alphabet="ab &;<>|\n`", max_size=400))
def test_no_part_is_too_long_and_nothing_but_white_space_and_fences_goes(text: str) -> None:
    text = to_mrkdwn(text)

    parts = split_mrkdwn(text, max_chars=50)

    def bare(value: str) -> str:
        return "".join(value.replace("```", "").split())

    assert all(len(part) <= 50 for part in parts)
    assert bare("".join(parts)) == bare(text)


def test_a_link_and_an_escaped_sign_stay_whole() -> None:
    parts = split_mrkdwn("x" * 30 + "<https://a.example/abc|page>" + "y" * 20, max_chars=50)
    signs = split_mrkdwn("a" * 39 + "&amp;" * 4, max_chars=50)

    assert any("<https://a.example/abc|page>" in part for part in parts)
    assert all(part.count("&") == part.count("&amp;") for part in signs)


def test_while_a_text_grows_all_parts_but_the_last_stay_as_they_are() -> None:
    text = " ".join(f"word{number}" for number in range(400))
    earlier: list[str] = []
    for length in range(10, len(text), 37):
        parts = split_mrkdwn(text[:length], max_chars=200)
        assert parts[: max(0, len(earlier) - 1)] == earlier[:-1]
        earlier = parts
