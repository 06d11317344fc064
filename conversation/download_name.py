"""The name under which a file is handed out: one that no system takes for a program.

What stays true: systems go by the last ending of a name. So a name keeps its ending only where it is known to be one of
files that are shown, and fits what the bytes are; else another ending is put behind it: `run.bat` is saved as
`run.bat.txt`. A list of bad endings would never be whole, and grows with each program that is installed.
"""

from collections.abc import Mapping
from pathlib import PurePosixPath

from conversation.filename import FILENAME_MAX_BYTES, safe_filename, shorten_filename
from conversation.media_types import MACRO_SUFFIX, UNKNOWN_TYPE

_TEXT_ENDING = ".txt"
#: Endings of text that editors show: documents, data, subtitles, and code that no system runs by itself.
_TEXTS = frozenset({
    ".txt", ".text", ".md", ".markdown", ".rst", ".adoc", ".asciidoc", ".tex", ".latex", ".bib", ".log", ".diff",
    ".patch", ".srt", ".vtt", ".ics", ".vcf", ".po", ".pot", ".json", ".jsonl", ".ndjson", ".geojson", ".json5",
    ".ipynb", ".yaml", ".yml", ".toml", ".xml", ".xsd", ".dtd", ".gpx", ".rss", ".atom", ".wsdl", ".plist", ".sql",
    ".graphql", ".proto", ".c", ".h", ".cc", ".cpp", ".cxx", ".hpp", ".hh", ".cs", ".java", ".kt", ".scala", ".swift",
    ".go", ".rs", ".ts", ".tsx", ".vue", ".svelte", ".css", ".scss", ".less", ".dart", ".m", ".mm", ".f", ".f90",
    ".pas", ".adb", ".ads", ".ml", ".mli", ".ex", ".clj", ".lisp", ".el", ".cmake", ".mk", ".tf", ".lock", ".sv",
    ".pem", ".asc", ".eml", ".emlx", ".mbox",
})  # fmt: skip
_PICTURES = frozenset({
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif",
    ".ico",
})  # fmt: skip
_MEDIA = frozenset({
    ".mp3", ".wav", ".ogg", ".oga", ".opus", ".flac", ".amr", ".aac", ".m4a", ".weba", ".wma", ".aiff", ".aif",
    ".mid", ".midi", ".mp4", ".m4v", ".mov", ".webm", ".avi", ".mkv", ".mpg", ".mpeg", ".ogv", ".3gp", ".3g2", ".wmv",
})  # fmt: skip
_OOXML, _ODF = "application/vnd.openxmlformats-officedocument", "application/vnd.oasis.opendocument"
#: Endings by type; the first is the one that is put behind a name that has another.
_ENDINGS: Mapping[str, tuple[str, ...]] = {
    "text/html": (_TEXT_ENDING, ".html", ".htm"),
    "text/csv": (_TEXT_ENDING, ".csv", ".tsv", ".tab"),
    "text/tab-separated-values": (_TEXT_ENDING, ".tsv", ".tab", ".csv"),
    "text/rtf": (".rtf",),
    "image/svg+xml": (".svg",),
    "application/pdf": (".pdf",),
    f"{_OOXML}.wordprocessingml.document": (".docx", ".dotx"),
    f"{_OOXML}.spreadsheetml.sheet": (".xlsx", ".xltx"),
    f"{_OOXML}.presentationml.presentation": (".pptx", ".potx", ".ppsx"),
    f"{_ODF}.text": (".odt", ".ott"),
    f"{_ODF}.spreadsheet": (".ods", ".ots"),
    f"{_ODF}.presentation": (".odp", ".otp"),
    "application/epub+zip": (".epub",),
    "application/vnd.ms-outlook": (".msg",),
    "application/zip": (".zip", ".pages", ".numbers", ".key", ".kmz", ".3mf", ".odg", ".vsdx", ".cbz"),
    "application/gzip": (".gz", ".tgz"),
    "application/x-tar": (".tar",),
    "application/x-7z-compressed": (".7z",),
    "application/x-bzip2": (".bz2", ".tbz2", ".tbz"),
    "application/x-xz": (".xz", ".txz"),
    "application/zstd": (".zst",),
    "application/vnd.rar": (".rar",),
    # Only where their type is named, and then as what they are.
    "application/vnd.ms-word.document.macroenabled.12": (".docm", ".dotm"),
    "application/vnd.ms-excel.sheet.macroenabled.12": (".xlsm", ".xltm", ".xlam"),
    "application/vnd.ms-excel.sheet.binary.macroenabled.12": (".xlsb",),
    "application/vnd.ms-powerpoint.presentation.macroenabled.12": (".pptm", ".potm", ".ppsm", ".ppam"),
    "application/msword": (".doc", ".dot"),
    "application/vnd.ms-excel": (".xls", ".xlt"),
    "application/vnd.ms-powerpoint": (".ppt", ".pps", ".pot"),
    "application/vnd.microsoft.portable-executable": (".exe", ".dll"),
    "application/java-archive": (".jar", ".apk"),
}
_FAMILIES = {"image": (".png", _PICTURES), "audio": (".mp3", _MEDIA), "video": (".mp4", _MEDIA)}


def make_download_name(filename: str, media_type: str | None) -> str:
    """Make the name under which a file of this type is handed out, as `safe_filename` does for a file of any type."""
    name = safe_filename(filename)
    ending = PurePosixPath(name).suffix.lower()
    appended, kept = _endings(media_type or UNKNOWN_TYPE)
    if ending in kept or (not ending and appended != _TEXT_ENDING):
        return name
    return shorten_filename(name, FILENAME_MAX_BYTES - len(appended)) + appended


def _endings(media_type: str) -> tuple[str, frozenset[str]]:
    """The ending to put behind a name, and those that a name keeps."""
    essence = media_type.partition(";")[0].strip().lower().removesuffix(MACRO_SUFFIX)
    own = _ENDINGS.get(essence, ())
    family, _, kind = essence.partition("/")
    if family == "text" or essence == "message/rfc822" or (kind.endswith(("json", "xml")) and not own):
        return (own or (_TEXT_ENDING,))[0], _TEXTS | set(own)
    if own:
        return own[0], frozenset(own)
    return _FAMILIES.get(family, (".bin", frozenset({".bin"})))
