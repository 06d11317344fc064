"""Text in the encodings that people's programs write: what the gate accepts is read as what it says, or refused.

The texts are in the letters of their language, at the lengths of a note and of a page.
"""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.files.extract import decode_text
from conversation.charset import DECISION_BYTES, decide
from conversation.errors import FileRejected
from store.media_types.examine import examine, examine_sample
from store.media_types.sample import HEAD_BYTES, TAIL_BYTES, Sample
from store.settings import Settings

ALLOWED = Settings.model_fields["attachment_types"].default
#: A language's text, and the encodings in which its people's programs write it.
TEXTS = {
    "German": (
        (
            "Sehr geehrte Frau Müller, die Rechnung über 120 Stück ist noch nicht bezahlt. Bitte überweisen Sie den "
            "Betrag bis Ende März. Mit freundlichen Grüßen, Jürgen Weiß"
        ),
        "cp1252 iso8859-1 iso8859-15 cp437 cp850 mac-roman",
    ),
    "French": (
        (
            "Chère Madame, votre commande a été expédiée le 3 août; la facture vous sera envoyée par courrier séparé. "
            "Veuillez agréer nos salutations distinguées, François Lefèvre"
        ),
        "cp1252 iso8859-1 iso8859-15 cp437 cp850 mac-roman",
    ),
    "Spanish": (
        (
            "Estimado señor Muñoz: le enviamos la factura número 15 del mes pasado. ¿Podría confirmar la dirección? "
            "Atentamente, María Ibáñez, Administración"
        ),
        "cp1252 iso8859-1 cp437 cp850 mac-roman",
    ),
    "Portuguese": (
        "A reunião começa às nove horas. Não se esqueça de trazer a relação das peças e os preços de São Paulo.",
        "cp1252 cp850 cp860 mac-roman",
    ),
    "Swedish": (
        "Mötet börjar klockan nio på måndag. Glöm inte att ta med räkningarna för förra året. Hälsningar, Åsa",
        "cp1252 iso8859-1 cp850 mac-roman",
    ),
    "Czech": (
        (
            "Vážený pane Dvořáku, vaše objednávka byla dnes odeslána. Částka činí 1200 korun, splatnost do čtrnácti "
            "dnů. "
            "Děkujeme, Jiří Šťastný"
        ),
        "cp1250 iso8859-2 cp852 mac-latin2",
    ),
    "Polish": (
        (
            "Szanowny Panie Łukaszu, proszę przesłać fakturę za wrzesień. Należność zostanie uregulowana w ciągu "
            "trzydziestu dni. Życzę miłego dnia, Małgorzata Żółkiewska"
        ),
        "cp1250 iso8859-2 cp852",
    ),
    "Hungarian": (
        (
            "Tisztelt Kovács úr! A megrendelését ma elküldtük, a fizetési határidő nyolc nap. Kérjük, győződjön meg "
            "róla, "
            "hogy a címe helyes. Üdvözlettel: Szűcs Ágnes"
        ),
        "cp1250 iso8859-2 cp852",
    ),
    "Russian": (
        (
            "Уважаемый Иван Петрович, счёт на оплату за сентябрь отправлен вам по почте. Просим оплатить его в течение "
            "десяти дней."
        ),
        "cp1251 koi8-r iso8859-5 cp866 mac-cyrillic",
    ),
    "Ukrainian": (
        (
            "Шановний пане Іване, рахунок за вересень надіслано вам поштою. Просимо сплатити його впродовж десяти "
            "днів, "
            "інакше її буде скасовано."
        ),
        "cp1251 koi8-u cp1125",
    ),
    "Greek": (
        (
            "Αγαπητέ κύριε Παπαδόπουλε, σας στέλνουμε το τιμολόγιο του Σεπτεμβρίου. Παρακαλούμε να το εξοφλήσετε μέσα "
            "σε "
            "δέκα ημέρες."
        ),
        "cp1253 iso8859-7 cp737",
    ),
    "Turkish": (
        "Sayın Yılmaz, siparişiniz bugün gönderildi. Lütfen ödemeyi on gün içinde yapınız. Teşekkür ederiz, Ayşe Ak",
        "cp1254 iso8859-9 cp857",
    ),
    "Hebrew": ("שלום רב, החשבונית עבור חודש ספטמבר נשלחה אליכם בדואר. נא לשלם אותה בתוך עשרה ימים.", "cp1255 cp862"),
    "Arabic": (
        "السيد المحترم، تم إرسال فاتورة شهر سبتمبر إليكم بالبريد. يرجى دفعها خلال عشرة أيام.",
        "cp1256 iso8859-6",
    ),
    "Latvian": (
        "Cienījamais kungs, jūsu pasūtījums šodien ir nosūtīts. Lūdzam samaksāt rēķinu desmit dienu laikā.",
        "cp1257 iso8859-13 cp775",
    ),
    "Thai": ("เรียนคุณสมชาย ใบแจ้งหนี้ของเดือนกันยายนถูกส่งทางไปรษณีย์แล้ว กรุณาชำระภายในสิบวัน", "cp874"),
    "Simplified Chinese": (
        "尊敬的王先生：九月份的发票已经寄出，请在十天之内付款。谢谢您的合作！",
        "gb18030 gb2312 utf-16-le utf-16-be",
    ),
    "Traditional Chinese": (
        "親愛的陳先生：九月份的發票已經寄出，請在十天之內付款。謝謝您的合作！",
        "big5 utf-16-le utf-16-be",
    ),
    "Japanese": (
        "田中様、九月分の請求書をお送りしました。十日以内にお支払いくださいますようお願いいたします。",
        "cp932 euc-jp iso2022-jp utf-16-le utf-16-be",
    ),
    "Korean": (
        "김 선생님께, 구월분 청구서를 보내 드렸습니다. 열흘 안에 결제해 주시기 바랍니다.",
        "cp949 euc-kr utf-16-le",
    ),
}
CASES = [(language, encoding) for language, (_, encodings) in TEXTS.items() for encoding in encodings.split()]


def judge(content: bytes, name: str = "a.txt") -> str | None:
    """The text of a file by gate and reader; None where it is refused."""
    try:
        examine(name, content, None, max_bytes=50_000_000, allowed=ALLOWED)
    except FileRejected:
        return None
    extracted = decode_text(content, max_chars=400_000)
    assert extracted.problem is None
    return extracted.text


@pytest.mark.parametrize(("language", "encoding"), CASES)
def test_a_letter_in_an_old_encoding_is_read_and_the_guess_is_told(language: str, encoding: str) -> None:
    text = TEXTS[language][0]
    content = text.encode(encoding)

    assert judge(content) == text
    assert judge((text + "\r\n").encode(encoding) * 8 + "\x1a".encode(encoding)) == (text + "\r\n") * 8 + "\x1a"
    remarks = decode_text(content, max_chars=400_000).remarks
    assert remarks == () if encoding == "iso2022-jp" else "which is a guess." in remarks[0]


def test_a_sentence_is_read_or_refused_and_next_to_never_misread() -> None:
    """Of pieces of 20 to 40 characters: beginnings of any sentence, in any of the encodings."""
    outcomes = []
    for language, encoding in CASES:
        words = TEXTS[language][0]
        pieces = [words[at : at + 35] for at in range(0, len(words) - 20, 60)]
        for piece in pieces:
            if not piece.isascii():
                text = judge(piece.encode(encoding))
                outcomes.append("refused" if text is None else "right" if text == piece else "wrong")

    assert outcomes.count("right") > 0.8 * len(outcomes)
    assert outcomes.count("wrong") < 0.04 * len(outcomes)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"plain English, " * 150 + "and one café".encode("cp1252"), "plain English, " * 150 + "and one café"),
        ("item;price\r\ntea;5 €\r\n".encode("cp1252"), "item;price\r\ntea;5 €\r\n"),
        ("“It’s done” – they said".encode("cp1252"), "“It’s done” – they said"),
        (b"x" * 70_000 + "\nfür Müller".encode("cp1252"), "x" * 70_000 + "\nfür Müller"),
        ("Grüße aus Köln\rund Umgebung\r".encode("cp1252"), "Grüße aus Köln\rund Umgebung\r"),
        ("\x1b[31mrot\x1b[0m, grün\x0c".encode("cp1252"), "\x1b[31mrot\x1b[0m, grün\x0c"),
        (b"N\x08NA\x08AM\x08ME\x08E\x0b\x07\x1a", "N\x08NA\x08AM\x08ME\x08E\x0b\x07\x1a"),
        (b"8=FIX.4.4\x019=12\x0135=A\x01", "8=FIX.4.4\x019=12\x0135=A\x01"),
        ('{"name": "Grüße"}'.encode("utf-16-le"), '{"name": "Grüße"}'),
        ("<?xml version='1.0' encoding='windows-1250'?><a>è</a>".encode("cp1250", "replace"), None),
        ("# -*- coding: cp1251 -*-\n# è\n".encode("cp1252"), "# -*- coding: cp1251 -*-\n# и\n"),
        ("% \\usepackage[cp866]{inputenc}\nда".encode("cp866"), "% \\usepackage[cp866]{inputenc}\nда"),
        ("да\n# vim: set fileencoding=cp866 :".encode("cp866"), "да\n# vim: set fileencoding=cp866 :"),
        ('@charset "shift_jis";\n/* 日 */'.encode("cp932"), '@charset "shift_jis";\n/* 日 */'),
    ],
)
def test_what_real_files_have_is_read(content: bytes, text: str | None) -> None:
    assert judge(content) == (text if text is not None else content.decode("cp1250"))


@pytest.mark.parametrize(
    "content",
    [
        "Dear customer, the invoice of September is attached.\n".encode("cp500"),
        b"never used in \x81 cp1252",
        "naïve".encode("cp1252"),
    ],
)
def test_what_cannot_be_told_is_refused_with_what_to_do(content: bytes) -> None:
    with pytest.raises(
        FileRejected, match=r"'a\.txt' may be text, but its encoding could not be told; save it as UTF-8"
    ):
        examine("a.txt", content, "text/plain", max_bytes=50_000_000, allowed=ALLOWED)


@settings(max_examples=20)
@given(st.binary(min_size=64, max_size=2000))
def test_binary_data_that_is_called_text_is_refused(content: bytes) -> None:
    with pytest.raises(FileRejected):
        examine("a.txt", b"\x01\x00\x00" + content, "text/plain", max_bytes=50_000_000, allowed=ALLOWED)


def test_noise_without_zeros_is_refused() -> None:
    noise = random.Random(7)
    for size in (64, 300, 3000):
        content = bytes(noise.randrange(1, 256) for _ in range(size))
        with pytest.raises(FileRejected):
            examine("a.txt", content, "text/plain", max_bytes=50_000_000, allowed=ALLOWED)


@settings(max_examples=30, deadline=None)
@given(st.text(), st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]))
def test_any_text_that_says_its_encoding_is_read_as_it_is(text: str, encoding: str) -> None:
    encoding_of_it = decide(text.encode(encoding))

    assert encoding_of_it is None or encoding_of_it.decode(text.encode(encoding)) == text.removeprefix("\ufeff")
    assert encoding_of_it is not None or encoding == "utf-8"


@settings(max_examples=40)
@given(st.binary(max_size=300))
def test_any_bytes_are_decided_alike_by_gate_and_reader(content: bytes) -> None:
    extracted = decode_text(content, max_chars=1000)

    if content and judge_quietly(content):
        assert extracted.problem is None


def judge_quietly(content: bytes) -> bool:
    try:
        return examine("a.txt", content, None, max_bytes=1000, allowed=ALLOWED) == "text/plain"
    except FileRejected:
        return False


@pytest.mark.parametrize(
    "content",
    [
        b"english text\n" * 100_000 + "später für Müller\n".encode("cp1252") * 3,
        "Уважаемый господин\n".encode("cp1251") * 80_000,
        "尊敬的王先生，请付款。\n".encode("gb18030") * 60_000,
        "尊敬的王先生，请付款。\n".encode() * 60_000 + b"\xff",
    ],
)
def test_a_file_beyond_the_beginning_is_judged_and_read_alike(content: bytes) -> None:
    assert len(content) > DECISION_BYTES

    sample = Sample.from_ends(content[:HEAD_BYTES], content[-TAIL_BYTES:], len(content))
    by_ends = examine_sample("a.txt", sample, None, max_bytes=50_000_000, allowed=ALLOWED)
    assert by_ends == examine("a.txt", content, None, max_bytes=50_000_000, allowed=ALLOWED)

    extracted = decode_text(content, max_chars=400_000)
    encoding = decide(content)
    assert encoding is not None
    assert extracted.text == content.decode(encoding.name, "replace")[:400_000]
    assert "\ufffd" not in extracted.text


def test_the_time_of_a_decision_grows_no_faster_than_the_text() -> None:
    """Bytes that are hard on what searches in them: no line ends, no spaces, high bytes far apart or everywhere."""
    hard = [b"x" * 4000 + b"\xe9", b"\xe9", b" \xe9", b"x\xe9", b"\xe9\n", b"(=:["]
    for piece, prefix in itertools.product(hard, (b"", b"charset" + b"=" * 900)):
        content = prefix + piece * (DECISION_BYTES // len(piece))
        decide(content)  # within the time limit of a test
