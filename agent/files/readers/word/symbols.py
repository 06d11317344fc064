"""Signs that a Word document takes from a font of symbols, as the characters that look like them.

What stays true: a sign that is not known here comes back as "", to be counted.
"""
# ruff: noqa: RUF001 - signs that look like letters are the subject

_SYMBOL = {
    **dict(zip(range(0x41, 0x5B), "ΑΒΧΔΕΦΓΗΙϑΚΛΜΝΟΠΘΡΣΤΥςΩΞΨΖ", strict=True)),
    **dict(zip(range(0x61, 0x7B), "αβχδεφγηιϕκλμνοπθρστυϖωξψζ", strict=True)),
    **dict(zip(range(0x20, 0x41), " !∀#∃%&∋()∗+,−./0123456789:;<=>?≅", strict=True)),
    **dict(zip(range(0xA3, 0xBD), "≤⁄∞ƒ♣♦♥♠↔←↑→↓°±″≥×∝∂•÷≠≡≈…", strict=True)),
    **dict(zip(range(0xC4, 0xE0), "⊗⊕∅∩∪⊃⊇⊄⊂⊆∈∉∠∇®©™∏√⋅¬∧∨⇔⇐⇑⇒⇓", strict=True)),
    **dict(zip((0x5C, 0x5E, 0xE5, 0xF2), "∴⊥∑∫", strict=True)),
}
_WINGDINGS = {
    **dict(zip(range(0x8C, 0x96), "❶❷❸❹❺❻❼❽❾❿", strict=True)),
    **dict(zip(range(0x81, 0x8B), "①②③④⑤⑥⑦⑧⑨⑩", strict=True)),
    **dict(zip(range(0xDF, 0xE3), "←→↑↓", strict=True)),
    **dict(zip(range(0xFB, 0xFF), "✗✓☒☑", strict=True)),
    **dict(zip((0x28, 0x29, 0x2A, 0x4A, 0x4B, 0x4C, 0x6C, 0x6E, 0x6F), "☎✆✉☺😐☹●■☐", strict=True)),
    **dict(zip((0x71, 0x72, 0x75, 0x76, 0x9F, 0xA7, 0xA8, 0xD8, 0xE8, 0xF0), "❑❒◆❖•▪☐➢➔⇨", strict=True)),
}
_WINGDINGS_2 = {0x4F: "✗", 0x50: "✓", 0x51: "☒", 0x52: "☑", 0x53: "☒", 0x54: "☒", 0xA3: "☐", 0x97: "●"}
_FONTS = {"symbol": _SYMBOL, "wingdings": _WINGDINGS, "wingdings 2": _WINGDINGS_2}
#: Where Word puts the 256 signs of such a font.
_PRIVATE = range(0xF000, 0xF100)


def convert_symbol(code: str, font: str) -> str:
    """The character for a sign, by its hexadecimal number in a font; "" for one that is not known."""
    try:
        number = int(code, 16)
    except ValueError:
        return ""
    signs = _FONTS.get(font.lower())
    if signs is not None or number in _PRIVATE:
        return (signs or {}).get(number & 0xFF, "")
    return chr(number) if 0x20 <= number < 0x110000 and not 0xD800 <= number < 0xE000 else ""


def convert_private(text: str, font: str) -> tuple[str, int]:
    """Replace the signs of a font of symbols within a text; with how many are not known, which stay as they are."""
    unknown = 0
    characters = []
    for character in text:
        sign = convert_symbol(f"{ord(character):x}", font) if ord(character) in _PRIVATE else character
        unknown += not sign
        characters.append(sign or character)
    return "".join(characters), unknown


def has_private(text: str) -> bool:
    """Whether a text has signs that only a font of symbols gives a meaning."""
    return not text.isascii() and any(ord(character) in _PRIVATE for character in text)
