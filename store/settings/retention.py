"""The settings of retention and upkeep: what is deleted when, and how often that is looked for."""

from pydantic import BaseModel, Field

from store.settings.units import Days, Seconds


class RetentionSettings(BaseModel):
    """How long threads, messages, turns and files are kept."""

    #: Days after its last change when a thread is deleted; 0 means never.
    retention_idle_days: Days = 0
    #: Days that a blob is kept after the last message with it is gone. Below an hour, a message may be
    #: refused because its file was collected while it was sent.
    blob_grace_days: Days = 7
    #: Seconds between two collections of files that no message has any more.
    collect_interval_seconds: Seconds = 3600
    #: Days after which a message is deleted, however lively its thread is; 0 means never.
    retention_max_age_days: Days = 0
    #: Messages that a thread keeps, at most: the newest ones; 0 means all.
    retention_max_messages: int = Field(0, ge=0)
    #: The newest messages of a thread, which stay however old they are.
    retention_keep_last: int = Field(0, ge=0)
    #: Whether a thread's summary stays, and with it the messages that it does not cover.
    retention_keep_summary: bool = False
    #: Whether what retention deletes is put into the file store first, as a compressed archive.
    retention_archive: bool = False
    #: Days after its end when a turn is deleted with its journal; its messages stay. 0 means never.
    turn_retention_days: Days = 0
    #: Seconds between two updates of PostgreSQL's statistics of our tables, for better plans.
    statistics_interval_seconds: Seconds = 21_600
    #: Seconds between two runs of retention.
    retention_interval_seconds: Seconds = 3600
