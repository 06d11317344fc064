"""A PDF whose end is missing, made whole by a new list of its pages.

What stays true: nothing of the file is changed, only added to.
"""

import re

#: Bytes of an object's beginning in which its type stands.
HEAD_BYTES = 4_000

_OBJECT = re.compile(rb"(?:^|[\r\n ])(\d{1,8}) (\d{1,5}) obj\b")
_PAGE_TYPE = re.compile(rb"/Type\s*/Page(?![a-zA-Z])")


def repair(content: bytes) -> bytes | None:
    """Add a catalog of all pages that stand in the file by themselves; None where there are none."""
    objects = list(_OBJECT.finditer(content))
    pages: dict[bytes, bytes] = {}
    for number, found in enumerate(objects):
        following = objects[number + 1].start() if number + 1 < len(objects) else len(content)
        if _PAGE_TYPE.search(content, found.end(), min(following, found.end() + HEAD_BYTES)):
            pages[found[1]] = b"%s %s R" % (found[1], found[2])
    if not pages:
        return None
    free_number = max(int(found[1]) for found in objects) + 1
    return b"%s\nendobj\n%d 0 obj\n<< /Type /Pages /Kids [%s] /Count %d >>\nendobj\n%d 0 obj\n%s\nendobj\n%s" % (
        content,
        free_number,
        b" ".join(pages.values()),
        len(pages),
        free_number + 1,
        b"<< /Type /Catalog /Pages %d 0 R >>" % free_number,
        b"trailer << /Size %d /Root %d 0 R >>\nstartxref\n0\n%%%%EOF\n" % (free_number + 2, free_number + 1),
    )
