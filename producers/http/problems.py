"""Problems: errors as answers over HTTP, by RFC 9457."""

from typing import Any


class Problem(Exception):
    """An answer that says what is wrong with a request, and how to mend it."""

    def __init__(
        self, status: int, title: str, detail: str, *, headers: dict[str, str] | None = None, **fields: Any
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.title = title
        self.detail = detail
        self.headers = headers or {}
        self.fields = fields
