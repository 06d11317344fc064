"""Usage over HTTP: tokens and costs of a tenant, or of a user."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Query

from producers.http.answer_shapes import write_moment
from producers.http.dependencies import GatewayOf, Reader
from producers.http.problems import Problem
from producers.http.request_shapes import Moment
from producers.http.usage_shapes import UsageEntry, UsageList
from producers.http.visibility import database_of
from store.turns.usage import UsageFilter, UsageKey, sum_usage

router = APIRouter(tags=["usage"])

#: Without `since`.
DEFAULT_TIME = timedelta(days=30)


@router.get("/usage", operation_id="read_usage")
async def read(
    gateway: GatewayOf,
    principal: Reader,
    since: Annotated[Moment | None, Query(description="30 days ago without it.")] = None,
    until: Annotated[Moment | None, Query(description="Now without it.")] = None,
    by: Annotated[Literal["day", "agent", "user"], Query(description="What each sum is of.")] = "day",
) -> UsageList:
    """Sum tokens and costs of turns that ended in a time: the 1,000 most expensive sums, the most expensive first.

    That of the whole tenant needs the scope `operate`; a credential of one user sums theirs.
    """
    if principal.user is None and "operate" not in principal.scopes:
        raise Problem(403, "Forbidden", "the credential lacks the scope 'operate'")
    since = since or datetime.now(UTC) - DEFAULT_TIME
    filters = UsageFilter(since=since, until=until, tenant=principal.tenant, user=principal.user)
    sums = await database_of(gateway, principal).run_async(sum_usage, filters, [UsageKey(by)])
    return UsageList(
        by=by,
        since=write_moment(since),
        until=None if until is None else write_moment(until),
        usage=[UsageEntry.of(each) for each in sums],
    )
