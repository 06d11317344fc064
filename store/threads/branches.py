"""The branches of a thread: made, listed, named, chosen, compared and deleted.

What stays true: a thread has one chosen branch at any time, and of two that choose at once the later one decides;
whoever chooses holds the thread's first row, then the branches that it changes. A branch that others share is never
taken from them.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, exists, func, literal, select, update

from conversation.branch_address import BRANCH_NAME_MAX_CHARS, MAIN, address_of, row_id_of, split_address
from conversation.errors import BranchInUse, InvalidInput, MessageNotFound
from conversation.message import Message
from conversation.validation import check_id, check_text
from store.database.column_types import clock
from store.database.sqlite import read_only
from store.database.statements import AnyRow
from store.files.attachments import insert_attachments  # noqa: F401
from store.history import message_rows
from store.history.lineage import Lineage, Part, select_range, shared_by_others_to
from store.history.visibility import cutoff_of
from store.tables import attachments, messages, summaries, thread_context, threads, turns
from store.tables.turns import unfinished
