"""Drawings of an .xlsx: text in shapes, pictures by their descriptions, charts by their titles and values.

What stays true: a picture is counted and never decoded; a chart shows the values that were stored with it.
"""

from collections.abc import Iterable, Iterator, Mapping
from xml.etree.ElementTree import Element

from agent.files.readers.office.number_format import NumberFormat
from agent.files.readers.workbook.parts import Book, Link, links_of, read_links

#: Points of one series of a chart.
POINTS_MAX = 1000


def describe_drawings(book: Book, links: Mapping[str, Link]) -> Iterator[str]:
    """Yield a line for each thing that is drawn on a sheet."""
    for part in links_of(links, "drawing"):
        yield from _describe_drawing(book, part)
    for part in links_of(links, "vmlDrawing"):
        yield from _describe_old_drawing(book.read(part))
    for link in links.values():
        if link.kind == "image":  # behind the cells
            book.sections.leave_out("picture")
            book.parts.mark_read(link.target)


def _describe_drawing(book: Book, part: str) -> Iterator[str]:
    root, links = book.read(part), read_links(book.parts, part)
    for element in root.iter() if root is not None else ():
        if element.tag in ("sp", "cxnSp"):
            yield from _describe_shape(element, links)
        elif element.tag == "pic":
            yield from _describe_picture(book, element, links)
        elif element.tag == "graphicFrame":
            yield from _describe_frame(book, element, links)


def _describe_shape(shape: Element, links: Mapping[str, Link]) -> Iterator[str]:
    text = " / ".join(filter(None, (_join_text(paragraph) for paragraph in shape.iterfind("txBody/p"))))
    words = " ".join(filter(None, (text, *_describe_properties(shape, links))))
    if words or _is_named(shape):
        yield f"Shape{_name_of(shape)}: {words}".removesuffix(": ")


def _describe_picture(book: Book, picture: Element, links: Mapping[str, Link]) -> Iterator[str]:
    book.sections.leave_out("picture")
    for element in picture.iter():
        for key in (":embed", ":link"):
            link = links.get(element.get(key, ""))
            if link and not link.is_external:
                book.parts.mark_read(link.target)
    words = " ".join(_describe_properties(picture, links))
    if words or _is_named(picture):
        yield f"Picture{_name_of(picture)}: {words}".removesuffix(": ")


def _describe_frame(book: Book, frame: Element, links: Mapping[str, Link]) -> Iterator[str]:
    words = " ".join(_describe_properties(frame, links))
    for element in frame.iter():
        target = links.get(element.get(":id", "")) if element.tag == "chart" else None
        if target is not None:
            yield from _describe_chart(book, target.target, f"Chart{_name_of(frame)}", words)
        data = links.get(element.get(":dm", "")) if element.tag == "relIds" else None
        diagram = book.read(data.target) if data else None
        if diagram is not None:
            texts = (_join_text(paragraph) for paragraph in diagram.iter("p"))
            yield f"Diagram{_name_of(frame)}: {'; '.join(filter(None, (words, *texts)))}"


def _properties(element: Element) -> Element:
    found = next(element.iter("cNvPr"), None)
    return found if found is not None else Element("cNvPr")


def _name_of(element: Element) -> str:
    name = _properties(element).get("name", "").strip()
    return f' "{name}"' if name else ""


def _is_named(element: Element) -> bool:
    """Whether somebody gave it a name: those of programs end in a number."""
    name = _properties(element).get("name", "").strip()
    return bool(name) and not name[-1].isdigit()


def _describe_properties(element: Element, links: Mapping[str, Link]) -> Iterator[str]:
    """Yield the alternative text of something that is drawn, and the address that it leads to."""
    properties = _properties(element)
    yield from filter(None, (" ".join(properties.get(key, "").split()) for key in ("title", "descr")))
    for click in properties:
        link = links.get(click.get(":id", ""))
        words = [f"<{link.target}>" if link else "", click.get("tooltip", "")]
        yield from filter(None, words)


def _describe_old_drawing(root: Element | None) -> Iterator[str]:
    """Yield the texts of old shapes and buttons; comments are drawn in the same way and shown elsewhere."""
    for shape in root.iter("shape") if root is not None else ():
        data, box = shape.find("ClientData"), shape.find("textbox")
        is_comment = data is not None and data.get("ObjectType") == "Note"
        text = " ".join("".join(box.itertext()).split()) if box is not None and not is_comment else ""
        words = " ".join(filter(None, (text, "" if is_comment else shape.get("alt", ""))))
        if words:
            yield f"Shape: {words}"


def _describe_chart(book: Book, part: str, label: str, words: str) -> Iterator[str]:
    root = book.read(part)
    if root is None:
        return
    titles = {title: _read_title(title) for title in root.iter("title")}
    title_texts = {text for title in titles for text in title.iter("t")}
    kinds = ", ".join(
        dict.fromkeys(plot.tag[:-5] for plot in root.iterfind("chart/plotArea/*") if plot.tag[-5:] == "Chart")
    )
    title = next((titles.pop(element) for element in root.iterfind("chart/title")), "")
    yield f"{label}{kinds and f' ({kinds})'}: {' '.join(filter(None, (title, words)))}".rstrip(": ")
    if any(titles.values()):
        yield f"  Axes: {'; '.join(filter(None, titles.values()))}"
    for series in root.iter("ser"):
        yield f"  Series{_describe_series(series)}"
    yield from _describe_new_series(root)
    labels = [" ".join((text.text or "").split()) for text in root.iter("t") if text not in title_texts]
    labels += [" ".join((name.text or "").split()) for name in root.iterfind(".//trendline/name")]
    if any(labels):
        yield f"  Labels: {'; '.join(filter(None, labels))}"
    places = (point.get("idx", "") for point in root.iter("pt"))
    book.sections.leave_out("chart value", sum(place.isdecimal() and int(place) >= POINTS_MAX for place in places))
    for drawing in links_of(read_links(book.parts, part), "chartUserShapes"):
        yield from (f"  {line}" for line in _describe_drawing(book, drawing))


def _read_title(title: Element) -> str:
    text = " ".join(filter(None, (_join_text(paragraph) for paragraph in title.iter("p"))))
    return text or " ".join(_points(title)) or " ".join(title.findtext(".//txData/v", "").split())


def _describe_series(series: Element) -> str:
    name = _read_data(series.find("tx"))
    values = [_read_data(series.find(tag)) for tag in ("val", "yVal", "bubbleSize")]
    labels = _read_data(series.find("cat")) or _read_data(series.find("xVal"))
    columns = [labels, *filter(None, values)]
    title = f' "{" ".join(name)}"' if name else ""
    points = [" = ".join(filter(None, point)) for point in _zip_longest(columns)]
    return f"{title}: {'; '.join(points)}"


def _describe_new_series(root: Element) -> Iterator[str]:
    """Yield the series of charts whose kinds are newer than the format: waterfalls, trees, funnels."""
    for name in root.iterfind(".//series/tx/txData/v"):
        yield f'  Series "{" ".join((name.text or "").split())}"'
    for data in root.iterfind("chartData/data"):
        columns = [[" ".join((point.text or "").split()) for point in dimension.iter("pt")] for dimension in data]
        formulas = [formula.text or "" for formula in data.iter("f")]
        points = [" = ".join(filter(None, point)) for point in _zip_longest([column for column in columns if column])]
        yield f"  Values: {'; '.join(points or formulas)}"


def _read_data(data: Element | None) -> list[str]:
    """Read the values of one side of a series; where none were stored, where they come from."""
    if data is None:
        return []
    texts = _points(data)
    if texts:
        return texts
    return [text for text in (*(value.text for value in data.iter("v")), *(f.text for f in data.iter("f"))) if text]


def _points(data: Element) -> list[str]:
    """Read stored points by their place, levels of categories above each other in one text."""
    code = data.findtext(".//formatCode", "General")
    number_format = NumberFormat(code)
    by_place: dict[int, list[str]] = {}
    for level in [*data.iter("lvl")] or [data]:
        for point in level.iter("pt"):
            place, value = point.get("idx", ""), " ".join(point.findtext("v", "").split())
            if place.isdecimal() and int(place) < POINTS_MAX:
                by_place.setdefault(int(place), []).insert(0, number_format.format(value))
    return [" ".join(by_place.get(place, [])) for place in range(max(by_place, default=-1) + 1)]


def _zip_longest(columns: Iterable[list[str]]) -> Iterator[list[str]]:
    columns = list(columns)
    for place in range(max(map(len, columns), default=0)):
        yield [column[place] if place < len(column) else "" for column in columns]


def _join_text(paragraph: Element) -> str:
    return " ".join("".join(text.text or "" for text in paragraph.iter("t")).split())
