"""The settings of the gateway's streams of events: how many, how long, and how patient with a slow reader."""

from pydantic import BaseModel, Field

from store.settings.units import Seconds


class StreamSettings(BaseModel):
    """How many streams of events one gateway process holds open, and when it ends one."""

    #: Streams and long polls that one gateway process holds open; 0 means any number.
    gateway_max_streams: int = Field(5000, ge=0)
    #: Those of one key or token, in one gateway process; 0 means any number.
    gateway_max_streams_per_credential: int = Field(2000, ge=0)
    #: Seconds of silence after which a stream sends a comment, so that no proxy takes it for dead.
    gateway_stream_heartbeat_seconds: Seconds = 10
    #: Seconds after which a stream ends whose reader takes nothing.
    gateway_stream_send_timeout_seconds: Seconds = 30
    #: Seconds after which a stream ends, so that its reader comes again with a credential that still holds.
    gateway_stream_max_seconds: Seconds = 900
