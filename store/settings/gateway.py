"""The settings of the HTTP gateway: what it takes, how long it works at it, and for whom."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, Field, model_validator

from store.settings.units import CommaSeparated, Networks, Seconds, SecondsOrZero
from store.settings.variables import variable


class GatewaySettings(BaseModel):
    """The bounds of a gateway: of one request, of the time for it, of how many there are and from where they come."""

    #: Bytes of the body of one request that brings no files.
    gateway_max_body_bytes: int = Field(8 * 1024 * 1024, ge=1024)
    #: Bytes of one request that brings files as a form (`multipart/form-data`).
    gateway_max_form_bytes: int = Field(32 * 1024 * 1024, ge=1024)
    #: Seconds after which a request that is no stream is given up.
    gateway_request_timeout_seconds: Seconds = 60
    #: Seconds after which a request is answered that waits (`?wait=`), whatever it asks for.
    gateway_max_wait_seconds: SecondsOrZero = 30
    #: Requests that one key or token may send in a minute, over all gateways; 0 means any number.
    gateway_credential_requests_per_minute: int = Field(0, ge=0)
    #: Requests of one tenant in a minute, over all gateways; 0 means any number.
    gateway_tenant_requests_per_minute: int = Field(0, ge=0)
    #: Seconds for which an `Idempotency-Key` is remembered, with its answer. Those of messages are kept with them.
    gateway_idempotency_seconds: Annotated[Seconds, Field(ge=60)] = 86_400
    #: Origins whose pages may call the gateway, comma-separated: `https://app.example.org`; `*` means all.
    gateway_cors_origins: CommaSeparated = ()
    #: The path under which a proxy serves `threadmill gateway`, where it takes that path off: `/ai`.
    gateway_root_path: Annotated[str, Field(pattern=r"^(/[A-Za-z0-9._~-]+)*$")] = ""
    #: Networks of proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed, comma-separated.
    gateway_trusted_proxies: Networks = ()
    #: An HTML file that is served at `/`, with its styles and scripts in it, as `examples/web/chat/index.html`; empty
    #: means none.
    gateway_page: Path | None = None
    #: Seconds that a stopping gateway lets its requests go on.
    gateway_shutdown_grace_seconds: SecondsOrZero = 20

    @model_validator(mode="after")
    def _check_wait(self) -> Self:
        if self.gateway_max_wait_seconds >= self.gateway_request_timeout_seconds:
            raise ValueError(
                f"{variable('gateway_max_wait_seconds')}: "
                f"must be less than {variable('gateway_request_timeout_seconds')}"
            )
        return self
