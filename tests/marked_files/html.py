"""A web page with a word in every place where one can stand. What stays true: scripts are not content."""

from html import escape

from tests.marked_files import MarkedFile, mark_of

_SHOWN = {
    "the title": "<title>{}</title>",
    "the description": '<meta name="description" content="{}">',
    "a heading": "<h1>{}</h1>",
    "a paragraph": "<p>{}</p>",
    "text outside of any element": "{}",
    "a cell of a table": "<table><tr><td>{}</td></tr></table>",
    "the caption of a table": "<table><caption>{}</caption></table>",
    "a cell over several rows": "<table><tr><td rowspan=2>{}</td><td>x</td></tr><tr><td>y</td></tr></table>",
    "a nested table": "<table><tr><td><table><tr><td>{}</td></tr></table></td></tr></table>",
    "a cell without a row": "<table><td>{}</td></table>",
    "an entry of a list": "<ul><li>{}</li></ul>",
    "a term": "<dl><dt>{}</dt></dl>",
    "a meaning": "<dl><dd>{}</dd></dl>",
    "kept white space": "<pre>  {}</pre>",
    "an address": "<address>{}</address>",
    "a quotation": "<blockquote>{}</blockquote>",
    "the text of a link": '<a href="https://example.org">{}</a>',
    "the address of a link": '<a href="https://example.org/{}">link</a>',
    "the label of a link without text": '<a href="/x" aria-label="{}"></a>',
    "the alternative of a picture": '<img src="x.png" alt="{}">',
    "the title of a picture": '<img src="y.png" alt="y" title="{}">',
    "the title of a frame": '<iframe title="{}"></iframe>',
    "the alternative of an area": '<map><area alt="{}" href="/y"></map>',
    "the caption of a figure": "<figure><figcaption>{}</figcaption></figure>",
    "a summary": "<details><summary>{}</summary></details>",
    "closed details": "<details>{}</details>",
    "text without scripts": "<noscript>{}</noscript>",
    "the value of a field": '<input value="{}">',
    "the hint of a field": '<input placeholder="{}">',
    "the text of an area": "<textarea>{}</textarea>",
    "the hint of an area": '<textarea placeholder="{}"></textarea>',
    "an option": "<select><option>{}</option></select>",
    "a group of options": '<select><optgroup label="{}"><option>z</option></optgroup></select>',
    "a suggestion": '<datalist><option value="{}"></datalist>',
    "a button": "<button>{}</button>",
    "a button of a form": '<input type="submit" value="{}">',
    "a legend": "<fieldset><legend>{}</legend></fieldset>",
    "a frame with a page inside": '<iframe srcdoc="&lt;p&gt;{}&lt;/p&gt;"></iframe>',
    "the address of a frame": '<iframe src="https://example.org/{}"></iframe>',
    "the title of a drawing": "<svg><title>{}</title></svg>",
    "the text of a drawing": "<svg><text>{}</text></svg>",
    "a formula": "<math><mi>{}</mi></math>",
    "ruby": "<ruby>字<rt>{}</rt></ruby>",
    "the meaning of an abbreviation": '<abbr title="{}">A</abbr>',
    "in place of a film": "<video>{}</video>",
    "in place of a sound": "<audio>{}</audio>",
    "in place of a canvas": "<canvas>{}</canvas>",
    "in place of an object": "<object>{}</object>",
    "struck text": "<s>{}</s>",
    "an element of the page's own": "<my-element>{}</my-element>",
    "text of a shadow tree": '<div><template shadowrootmode="open">{}</template></div>',
}  # fmt: skip
_LEFT_OUT = {
    ("a script", "script"): "<script>'{}'</script>",
    ("a template", "template"): "<template>{}</template>",
    ("a comment of the source", "source comment"): "<!-- {} -->",
    ("an element that is hidden", "hidden passage"): "<p hidden>{}</p>",
    ("text hidden by its style", "hidden passage"): '<p style="color:red; display: none">{}</p>',
    ("text hidden by a style sheet", "hidden passage"): '<style>.away {{ display: none }}</style><p class="away">{}</p>',
    ("text out of the window", "hidden passage"): '<p style="position:absolute;left:-9999px">{}</p>',
    ("text without size", "hidden passage"): '<p style="font-size:0">{}</p>',
    ("a dialog that is closed", "hidden passage"): "<dialog>{}</dialog>",
    ("a hidden field", "hidden field"): '<input type="hidden" value="{}">',
    ("a password", "password field"): '<input type="password" value="{}">',
    ("what a box stands for", "choice value"): '<input type="checkbox" value="{}">',
    ("text of a style sheet", "style text"): '<style>p:before {{ content: "{}" }}</style>',
    ("a tooltip", "tooltip"): '<p title="{}">text</p>',
    ("a label for screen readers", "aria label"): '<p aria-label="{}">text</p>',
    ("what an option stands for", "choice value"): '<select><option value="{}">text</option></select>',
    ("the summary of a table", "attribute"): '<table summary="{}"><tr><td>x</td></tr></table>',
    ("data for scripts", "data attribute"): '<p data-x="{}">text</p>',
    ("the title of a feed", "tooltip"): '<link rel="alternate" title="{}">',
    ("other metadata", "metadata field"): '<meta name="generator" content="{}">',
    ("a very long address", "long link address"): f'<a href="https://example.org/{"x" * 400}{{}}">link</a>',
}  # fmt: skip


def build() -> MarkedFile:
    """Build the page."""
    places = {**_SHOWN, **{place: markup for (place, _), markup in _LEFT_OUT.items()}}
    pieces = [markup.format(escape(mark_of(place))) for place, markup in places.items()]
    head = [piece for piece in pieces if piece.startswith(("<title", "<meta"))]
    body = [piece for piece in pieces if piece not in head]
    content = f"<!doctype html><html><head>{''.join(head)}</head><body>{' '.join(body)}</body></html>"
    return MarkedFile("text/html", content.encode(), {**dict.fromkeys(_SHOWN, ""), **dict(list(_LEFT_OUT))})
