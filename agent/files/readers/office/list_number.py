"""The number of an entry of a list, as its list writes it. What stays true: each number is written in some form."""

_ROMAN = ((1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"))
_ROMAN_ONES = ((10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i"))
_LETTERS = 26
#: The highest number in letters: beyond, it is written in digits.
_SPELLED_MAX = 5000


def format_number(number: int, kind: str) -> str:
    """Write a number as a list of this kind does: `upperRoman`, `lowerLetter`; in digits for other kinds."""
    if kind == "none":
        return ""
    if not 0 < number < _SPELLED_MAX:
        return str(number)
    if kind in ("lowerLetter", "upperLetter"):
        text = chr(ord("a") + (number - 1) % _LETTERS) * ((number - 1) // _LETTERS + 1)
    elif kind in ("lowerRoman", "upperRoman"):
        text = ""
        for value, letters in _ROMAN + _ROMAN_ONES:
            text += letters * (number // value)
            number %= value
    else:
        return f"{number:02}" if kind == "decimalZero" else str(number)
    return text.upper() if kind.startswith("upper") else text
