"""Numbers of a workbook as a person sees them, by the number formats of its cells.

What stays true: a format that cannot be understood shows the number itself, and a number never shows the noise of
binary fractions.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_HALF_UP, Context, Decimal, DecimalException
from fractions import Fraction

from agent.files.readers.office.date_format import (
    DAYS_TO_1904,
    ISO_DATE,
    compile_date,
    find_first_in_date,
    format_iso_date,
)

_ACCOUNTING = '{0}* #,##0{1};{0}* (#,##0{1});{0}* "-"{2};@'
#: Format codes that files name by a number alone. Dates that each machine shows in its own order are ISO dates.
BUILT_IN_CODES: Mapping[int, str] = {
    **dict.fromkeys([14, 22, *range(27, 37), *range(50, 59), *range(71, 82)], ISO_DATE),
    1: "0", 2: "0.00", 3: "#,##0", 4: "#,##0.00", 9: "0%", 10: "0.00%", 11: "0.00E+00", 12: "# ?/?", 13: "# ??/??",
    5: "$#,##0;($#,##0)", 6: "$#,##0;($#,##0)", 7: "$#,##0.00;($#,##0.00)", 8: "$#,##0.00;($#,##0.00)",
    15: "d-mmm-yy", 16: "d-mmm", 17: "mmm-yy", 18: "h:mm AM/PM", 19: "h:mm:ss AM/PM", 20: "h:mm", 21: "h:mm:ss",
    37: "#,##0;(#,##0)", 38: "#,##0;(#,##0)", 39: "#,##0.00;(#,##0.00)", 40: "#,##0.00;(#,##0.00)",
    41: _ACCOUNTING.format("", "", ""), 43: _ACCOUNTING.format("", ".00", "??"),
    42: _ACCOUNTING.format("$", "", ""), 44: _ACCOUNTING.format("$", ".00", "??"),
    45: "mm:ss", 46: "[h]:mm:ss", 47: "mm:ss.0", 48: "##0.0E+0", 49: "@",
    59: "0", 60: "0.00", 61: "#,##0", 62: "#,##0.00", 67: "0%", 68: "0.00%", 69: "# ?/?", 70: "# ??/??",
}  # fmt: skip
#: A double has no more digits that mean something, and programs show no more.
_DIGITS = 15
#: Enough for every double that is written out.
_CONTEXT = Context(prec=400, rounding=ROUND_HALF_UP)
#: The powers of ten between which a number is written without an exponent.
_PLAIN_EXPONENTS = range(-10, 21)

_SECTIONS = re.compile(r'(?:"[^"]*"?|\\.|\[[^\]]*\]?|[^;"\\\[])*', re.DOTALL)
#: One piece of a format: a literal in one of its spellings, a bracket, or a sign with a meaning.
_TOKEN = re.compile(
    r'"(?P<quoted>[^"]*)"?|\\(?P<escaped>.)|_(?P<space>.?)|\*(?P<fill>.)|\[\$(?P<symbol>[^\]-]{0,40}+)[^\]]{0,255}+\]'
    r"|\[[^\]]{0,255}+\]"
    r"|(?P<general>general)|(?P<exponent>e[+-])|(?P<digit>[0#?])|(?P<sign>[.,%/@])|(?P<literal>.)",
    re.IGNORECASE | re.DOTALL,
)
_CONDITION = re.compile(r"\[(<=|>=|<>|<|>|=)\s*(-?[\d.]+)\]")
_COMPARISONS: Mapping[str, Callable[[Decimal, Decimal], bool]] = {
    "<": Decimal.__lt__,
    "<=": Decimal.__le__,
    ">": Decimal.__gt__,
    ">=": Decimal.__ge__,
    "=": Decimal.__eq__,
    "<>": Decimal.__ne__,
}
_Tokens = Sequence[tuple[str, str]]
_Renderer = Callable[[Decimal], str]


class NumberFormat:
    """One number format, compiled once for all cells that have it."""

    def __init__(self, code: str, *, is_1904: bool = False) -> None:
        """`is_1904` counts days from 1904, as old Macs do."""
        self._sections = _split_sections(code)
        self._days_more = DAYS_TO_1904 if is_1904 else 0
        self._renderers: dict[str, _Renderer] = {}
        #: Whether texts have something around them.
        self.wraps_text = self._sections[-1].strip() != "@" and "@" in self._sections[-1]
        #: "day" or "month" for dates that can be mistaken for those of the other order; "" for all else.
        self.first_in_dates = find_first_in_date(self._sections[0]) if code != ISO_DATE else ""
        self._code = code

    def format(self, raw: str) -> str:
        """Format the number that a file writes like this."""
        number = parse_number(raw)
        if number is None:
            return raw
        try:
            if self._code == ISO_DATE:
                return format_iso_date(number + self._days_more)
            return " ".join(self._render(number).split())
        except (ArithmeticError, ValueError):  # no date has this number, or the format makes no sense
            return format_general(raw)

    def format_text(self, text: str) -> str:
        """Format a text: with what stands around it in the format's fourth section."""
        section = self._sections[3] if len(self._sections) > 3 else self._sections[-1]
        if "@" not in section:
            return text
        pieces = [text if token == ("sign", "@") else _literal(*token) for token in _tokenize(section)]
        return "".join(pieces)

    def _render(self, number: Decimal) -> str:
        section, shows_sign = self._choose_section(number)
        if not section and number:  # hidden by its format
            return format_general(str(number))
        if section not in self._renderers:
            self._renderers[section] = self._compile(section)
        return ("-" if shows_sign and number < 0 else "") + self._renderers[section](number)

    def _compile(self, section: str) -> _Renderer:
        date = compile_date(section)
        if date is not None:
            return lambda number: _render_date(date, number + self._days_more)
        render = compile_number(_tokenize(section))
        return lambda number: render(abs(number))

    def _choose_section(self, number: Decimal) -> tuple[str, bool]:
        """Choose the section of the format for this number; the second value says whether a minus is added."""
        numbers = self._sections[:3]
        conditions = [_CONDITION.search(section) for section in numbers]
        if any(conditions):
            for section, condition in zip(numbers, conditions, strict=True):
                if condition is None:
                    return section, True
                if _COMPARISONS[condition[1]](number, Decimal(condition[2])):
                    return section, not condition[1].startswith("<") or Decimal(condition[2]) > 0
            return "General", True
        if number < 0:
            return numbers[min(1, len(numbers) - 1)], len(numbers) == 1
        return numbers[2 if number == 0 and len(numbers) > 2 else 0], False


def _render_date(render: _Renderer, days: Decimal) -> str:
    try:
        return render(days)
    except ValueError:  # eras, which are no years of ours
        return format_iso_date(days)


def parse_number(raw: str) -> Decimal | None:
    """Parse a number as files write it, without the noise of binary fractions; None for anything else."""
    try:
        number = Decimal(raw.strip())
        if not number.is_finite() or abs(number.adjusted()) > 400:
            return None
        if len(number.as_tuple().digits) > _DIGITS and number != number.to_integral_value(context=_CONTEXT):
            number = Decimal(f"{float(number):.{_DIGITS}g}")
    except (DecimalException, ValueError):
        return None
    return number or Decimal(0)  # not -0


def format_general(raw: str) -> str:
    """Format a number without a format: all of its digits that mean something; other text is as it is."""
    if raw.isdigit() and raw.isascii() and (raw[0] != "0" or raw == "0"):  # most numbers
        return raw
    number = parse_number(raw)
    if number is None:
        return raw
    if number.adjusted() not in _PLAIN_EXPONENTS:
        return f"{number.normalize(_CONTEXT):E}"
    return _strip_zeros(f"{number:f}")


def compile_number(tokens: _Tokens) -> _Renderer:
    """Compile a section for numbers. What it returns takes no sign."""
    if any(kind == "general" for kind, _ in tokens):
        return lambda number: "".join(
            format_general(str(number)) if kind == "general" else _literal(kind, text) for kind, text in tokens
        )
    if ("sign", "@") in tokens and not any(kind == "digit" for kind, _ in tokens):
        return lambda number: "".join(
            format_general(str(number)) if (kind, text) == ("sign", "@") else _literal(kind, text)
            for kind, text in tokens
        )
    if ("sign", "/") in tokens and _is_fraction(tokens):
        return lambda number: _render_fraction(tokens, number)
    return _Digits(tokens).render


class _Digits:
    """A section of digits: where each digit of a number stands among literals."""

    def __init__(self, tokens: _Tokens) -> None:
        kinds = [kind for kind, _ in tokens]
        exponent_at = kinds.index("exponent") if "exponent" in kinds else len(tokens)
        point_at = next((n for n, token in enumerate(tokens[:exponent_at]) if token == ("sign", ".")), exponent_at)
        self._whole, self._fraction = tokens[:point_at], tokens[point_at:exponent_at]
        self._exponent = tokens[exponent_at:]
        digits_at = [n for n, (kind, _) in enumerate(self._whole) if kind == "digit"]
        first, last = (digits_at[0], digits_at[-1]) if digits_at else (0, -1)
        self._is_grouped = ("sign", ",") in self._whole[first:last]
        commas = _count_end_commas(self._whole) + _count_end_commas(self._fraction)
        self._scale = 2 * sum(token == ("sign", "%") for token in tokens) - 3 * commas
        self._whole_digits, self._first_digit = len(digits_at), first
        self._decimals = sum(kind == "digit" for kind, _ in self._fraction)

    def render(self, number: Decimal) -> str:
        """Render a number that is not negative."""
        number = number.scaleb(self._scale, _CONTEXT)
        power = self._find_power(number)
        number = number.scaleb(-power, _CONTEXT).quantize(Decimal(1).scaleb(-self._decimals), context=_CONTEXT)
        whole, _, fraction = f"{number:f}".partition(".")
        text = self._render_whole("" if whole == "0" else whole) + self._render_fraction(fraction)
        return text + self._render_exponent(power) if self._exponent else text

    def _find_power(self, number: Decimal) -> int:
        """Find the exponent to show: a multiple of the digits before the point, one at least."""
        if not self._exponent or not number:
            return 0
        # What rounds up to one digit more has that digit's exponent.
        step = max(self._whole_digits, 1)
        power = number.adjusted() - number.adjusted() % step
        rounded = number.scaleb(-power, _CONTEXT).quantize(Decimal(1).scaleb(-self._decimals), context=_CONTEXT)
        return power + step if rounded.adjusted() >= step else power

    def _render_whole(self, digits: str) -> str:
        """Render the digits before the point from the right; the first place takes all that are left."""
        pieces: list[str] = []
        places_left, count = self._whole_digits, 0
        for kind, text in reversed(self._whole):
            if kind != "digit":
                pieces.append(_literal(kind, text))
                continue
            places_left -= 1
            size = len(digits) if not places_left else 1
            for digit in reversed(digits[-size:] if size and digits else _padding(text)):
                if self._is_grouped and count and count % 3 == 0 and digit.isdigit():
                    pieces.append(",")
                pieces.append(digit)
                count += 1
            digits = digits[:-size] if size else ""
        if not self._whole_digits and self._decimals:  # `.00` has no place for them, and they are shown
            pieces.append(digits)
        return "".join(reversed(pieces))

    def _render_fraction(self, digits: str) -> str:
        pieces, significant = [], len(digits.rstrip("0"))
        place = 0
        for kind, text in self._fraction:
            if kind == "digit":
                pieces.append(digits[place] if place < significant else _padding(text))
                place += 1
            else:
                pieces.append("." if text == "." and kind == "sign" else _literal(kind, text))
        return "".join(pieces)

    def _render_exponent(self, power: int) -> str:
        width = sum(kind == "digit" for kind, _ in self._exponent)
        sign = "-" if power < 0 else "+" if self._exponent[0][1][1] == "+" else ""
        literals = "".join(_literal(kind, text) for kind, text in self._exponent[1:])
        return f"E{sign}{abs(power):0{max(width, 1)}}{literals}"


def _split_sections(code: str) -> list[str]:
    """Split a format at the semicolons that are no literals: one section at least."""
    sections, start = [], 0
    for match in _SECTIONS.finditer(code):
        if match.start() >= start:
            sections.append(match[0])
            start = match.end() + 1
    return sections or ["General"]


def _tokenize(section: str) -> list[tuple[str, str]]:
    return [
        (str(match.lastgroup), match[str(match.lastgroup)]) for match in _TOKEN.finditer(section) if match.lastgroup
    ]


def _literal(kind: str, text: str) -> str:
    """The text of a piece by itself: a space is as wide as some letter, a filling fills what is left of the cell."""
    if kind in ("space", "fill"):
        return " "
    return "" if kind in ("general", "exponent", "digit") or (kind == "sign" and text in ",@") else text


def _count_end_commas(tokens: _Tokens) -> int:
    """Count the commas after the last digit, each of which stands for a thousand that is not shown."""
    last = max((n for n, (kind, _) in enumerate(tokens) if kind == "digit"), default=len(tokens))
    return sum(token == ("sign", ",") for token in tokens[last + 1 :])


def _padding(place: str) -> str:
    return {"0": "0", "?": " "}.get(place, "")


def _strip_zeros(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def _is_fraction(tokens: _Tokens) -> bool:
    at = tokens.index(("sign", "/"))
    return any(kind == "digit" for kind, _ in tokens[:at]) and bool(_denominator(tokens[at + 1 :]))


def _denominator(tokens: _Tokens) -> str:
    """The places or the number under a fraction's bar."""
    text = "".join(text for kind, text in tokens if kind in ("digit", "literal"))
    match = re.match(r"\s*([0#?\d]+)", text)
    return match[1] if match else ""


def _render_fraction(tokens: _Tokens, number: Decimal) -> str:
    at = tokens.index(("sign", "/"))
    below = _denominator(tokens[at + 1 :])
    before = "".join("#" if kind == "digit" else _literal(kind, text) for kind, text in tokens[:at])
    has_whole = bool(re.search(r"#\s+#", before))
    if below.isdigit() and int(below):
        fraction = Fraction(round(Fraction(number) * int(below)), int(below))
        bottom = int(below)
    else:
        fraction = Fraction(number).limit_denominator(10 ** len(below) - 1)
        bottom = fraction.denominator
    whole, top = divmod(int(fraction * bottom), bottom) if has_whole else (0, int(fraction * bottom))
    literal = before.partition("#")[0]
    if has_whole and not top:
        return f"{literal}{whole}"
    return f"{literal}{whole} {top}/{bottom}" if whole else f"{literal}{top}/{bottom}"
