"""Numbers, dates and texts of a workbook are shown as a person sees them in their cells."""

import pytest

from agent.files.readers.office.number_format import BUILT_IN_CODES, NumberFormat, format_general

ACCOUNTING = '_($* #,##0.00_);_($* (#,##0.00);_($* "-"??_);_(@_)'


@pytest.mark.parametrize(
    ("code", "raw", "text"),
    [
        # Places of digits
        ("0", "2.5", "3"),
        ("0.00", "1.005", "1.01"),
        ("00000", "123", "00123"),
        ("0000", "-5", "-0005"),
        ("#,##0.00", "1234567.891", "1,234,567.89"),
        ("#,##0", "999", "999"),
        ("#,##0.###", "1234.5", "1,234.5"),
        ("#.##", "0.5", ".5"),
        (".00", "12.345", "12.35"),
        ("#,##0,", "1234567", "1,235"),
        ('0.0,,"M"', "2500000", "2.5M"),
        ("#,###,.##", "1025132.36", "1,025.13"),
        ("0.00%_;(0.00%)", "0.123", "12.30%"),
        ("000-00-0000", "123456789", "123-45-6789"),
        ("(###) ###-####", "5551234567", "(555) 123-4567"),
        ("0", "12345678901234567890", "12345678901234567890"),
        ("0", "-0", "0"),
        # Percent, exponents, fractions
        ("0%", "1", "100%"),
        ("0.0%", "0.1234", "12.3%"),
        ("0.00 %", "0.5", "50.00 %"),
        ("0.00E+00", "12345.678", "1.23E+04"),
        ("0.00E+00", "0", "0.00E+00"),
        ("##0.0E+0", "999999", "1.0E+6"),
        ("# ?/?", "1.25", "1 1/4"),
        ("# ??/16", "0.3125", "5/16"),
        ("?/?", "1.5", "3/2"),
        ("# ?/?", "2", "2"),
        # Money, literals, colours, conditions
        ("[$€-407] #,##0.00", "-12.5", "-€ 12.50"),
        ("#,##0.00 [$€-407]", "1234.5", "1,234.50 €"),
        ("£#,##0", "1234", "£1,234"),
        ("#,##0.00;[Red]-#,##0.00", "-5", "-5.00"),
        (ACCOUNTING, "-1234.5", "$ (1,234.50)"),
        (ACCOUNTING, "0", "$ -"),
        ('General" kg"', "5.5", "5.5 kg"),
        ("0 days", "5", "5 days"),
        ("\\P0", "7", "P7"),
        ('"yes";"no";"none"', "-1", "no"),
        ('[Red][<100]0.0;[>=100]"big "0', "250", "big 250"),
        ('[>1000]0.0,"K";0', "2500", "2.5K"),
        ("0;-0;;@", "0", ""),
        (";;;", "5", "5"),
        ("@", "12", "12"),
        # Dates and times
        ("yyyy-mm-dd", "45356", "2024-03-05"),
        ("d/m/yyyy", "45356", "5/3/2024"),
        ("mmm-yy", "45356", "Mar-24"),
        ("dddd, mmmm dd, yyyy", "45356", "Tuesday, March 05, 2024"),
        ("[$-F800]dddd, mmmm dd, yyyy", "45356", "Tuesday, March 05, 2024"),
        ('yyyy"年"m"月"d"日"', "45356", "2024年3月5日"),
        ("d mmmm yyyy h:mm AM/PM", "45356.75", "5 March 2024 6:00 PM"),
        ("yyyy-mm-dd hh:mm:ss", "45356.999999", "2024-03-06 00:00:00"),
        ("h:mm", "0.5625", "13:30"),
        ("h AM/PM", "0", "12 AM"),
        ("mm:ss.0", "0.123456", "57:46.6"),
        ("[h]:mm:ss", "1.25", "30:00:00"),
        ("[h]:mm", "-0.5", "-12:00"),
        ("[mm]:ss", "0.1", "144:00"),
        # Days that only a spreadsheet has, and none at all
        ("yyyy-mm-dd", "60", "1900-02-29"),
        ("yyyy-mm-dd", "61", "1900-03-01"),
        ("yyyy-mm-dd", "59", "1900-02-28"),
        ("yyyy-mm-dd", "0", "1900-01-00"),
        ("yyyy-mm-dd", "-1", "-1"),
        ("yyyy-mm-dd", "2958467", "2958467"),
        ("[$-411]ge.m.d", "45356", "2024-03-05"),
        ('[$-411]ggge"年"m"月"d"日"', "45356", "2024-03-05"),
        # What is no number
        ("0.00", "n/a", "n/a"),
        ("0.00", "NaN", "NaN"),
    ],
)
def test_a_number_is_shown_by_its_format(code: str, raw: str, text: str) -> None:
    assert NumberFormat(code).format(raw) == text


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("0.30000000000000004", "0.3"),
        ("1234567890123456", "1234567890123456"),
        ("1E+16", "10000000000000000"),
        ("1.5E-12", "1.5E-12"),
        ("1e400", "1E+400"),
        ("7.0", "7"),
        ("-0.0", "0"),
        ("007", "7"),
        ("1e999999999999", "1e999999999999"),
    ],
)
def test_a_number_without_a_format_has_all_of_its_digits_and_no_noise(raw: str, text: str) -> None:
    assert format_general(raw) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (5, "$45,357"),
        (14, "2024-03-05 12:00:00"),
        (15, "5-Mar-24"),
        (18, "12:00 PM"),
        (22, "2024-03-05 12:00:00"),
        (31, "2024-03-05 12:00:00"),
        (44, "$ 45,356.50"),
        (46, "1088556:00:00"),
        (47, "00:00.0"),
    ],
)
def test_a_built_in_format_is_known_by_its_number(number: int, text: str) -> None:
    assert NumberFormat(BUILT_IN_CODES[number]).format("45356.5") == text


def test_days_are_counted_from_1904_where_the_workbook_does() -> None:
    assert NumberFormat("yyyy-mm-dd", is_1904=True).format("43894") == "2024-03-05"


@pytest.mark.parametrize(
    ("code", "text"), [('"ID-"@', "ID-x"), ('0;0;0;"t "@', "t x"), ("0.00", "x"), (";;;", "x"), ("General", "x")]
)
def test_a_text_is_shown_with_what_its_format_puts_around_it(code: str, text: str) -> None:
    assert NumberFormat(code).format_text("x") == text


@pytest.mark.parametrize(
    ("code", "first"), [("d/m/yyyy", "day"), ("mm-dd-yy", "month"), ("yyyy-mm-dd", ""), ("d-mmm-yy", ""), ("h:mm", "")]
)
def test_a_date_that_can_be_mistaken_says_what_stands_first(code: str, first: str) -> None:
    assert NumberFormat(code).first_in_dates == first
