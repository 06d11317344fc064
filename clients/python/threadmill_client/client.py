"""The client that blocks.

What stays true: a verb is a line here; what it does stands in the modules of verbs, which the async twin shares. One
client serves many threads, and keeps its connections.
"""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, get_args

import httpx

from threadmill_client import (
    branches,
    calls,
    following,
    inbound_sources,
    listings,
    pending_calls,
    schedules,
    transfers,
    webhooks,
)
from threadmill_client.configured_client import ConfiguredClient
from threadmill_client.decoding import Model
from threadmill_client.errors import ThreadmillError
from threadmill_client.events import Event
from threadmill_client.file_source import FileSource
from threadmill_client.following import Feed
from threadmill_client.gateway import lose
from threadmill_client.listings import Listing
from threadmill_client.models import Page
from threadmill_client.run import Run
from threadmill_client.signatures import with_self
from threadmill_client.wire import Answer, Pause, Plan, Request, Work

P = ParamSpec("P")
T = TypeVar("T")
M = TypeVar("M", bound=Model)


class Pages(Generic[M]):
    """A list of the gateway: iterate over all of it, or take a page."""

    def __init__(self, client: "Threadmill", listing: Listing[M]) -> None:
        self._client = client
        self._listing = listing

    def page(self, cursor: str | None = None) -> Page[M]:
        """Read the first page, or the one that begins at the `next_cursor` of another."""
        return self._client.carry_out(self._listing.page(cursor))

    def __iter__(self) -> Iterator[M]:
        page = self.page()
        yield from page.items
        while page.next_cursor:
            page = self.page(page.next_cursor)
            yield from page.items


def _call(verb: Callable[P, Plan[T]]) -> "Callable[Concatenate[Threadmill, P], T]":
    def call(self: "Threadmill", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.carry_out(verb(*args, **kwargs))

    return with_self(call, verb, get_args(verb.__annotations__["return"])[-1])


def _list(verb: Callable[P, Listing[M]]) -> "Callable[Concatenate[Threadmill, P], Pages[M]]":
    def call(self: "Threadmill", /, *args: P.args, **kwargs: P.kwargs) -> Pages[M]:
        return Pages(self, verb(*args, **kwargs))

    return with_self(call, verb, Pages[get_args(verb.__annotations__["return"])[0]])  # type: ignore[misc]


def _follow(verb: Callable[P, Feed]) -> "Callable[Concatenate[Threadmill, P], Generator[Event, None, None]]":
    def call(self: "Threadmill", /, *args: P.args, **kwargs: P.kwargs) -> Generator[Event, None, None]:
        return self.follow(verb(*args, **kwargs))

    return with_self(call, verb, Generator[Event, None, None])


class Threadmill(ConfiguredClient[httpx.Client]):
    """A client of one gateway: `Threadmill("https://threads.example.com", key)`. Close it, or use it in `with`."""

    _http_class = httpx.Client

    create_thread = _call(calls.create_thread)
    get_thread = _call(calls.get_thread)
    list_threads = _list(listings.list_threads)
    search_threads = _list(listings.search_threads)
    update_thread = _call(calls.update_thread)
    fork_thread = _call(calls.fork_thread)
    delete_thread = _call(calls.delete_thread)

    send_message = _call(calls.send_message)
    list_messages = _list(listings.list_messages)

    get_turn = _call(calls.get_turn)
    list_turns = _list(listings.list_turns)
    wait_for_turn = _call(calls.wait_for_turn)
    cancel_turn = _call(calls.cancel_turn)
    requeue_turn = _call(calls.requeue_turn)

    list_pending = _list(pending_calls.list_pending)
    read_pending = _call(pending_calls.read_pending)
    approve_call = _call(pending_calls.approve_call)
    deny_call = _call(pending_calls.deny_call)
    edit_call = _call(pending_calls.edit_call)
    answer_call = _call(pending_calls.answer_call)
    give_result = _call(pending_calls.give_result)

    regenerate = _call(branches.regenerate)
    edit_message = _call(branches.edit_message)
    list_branches = _call(branches.list_branches)
    make_branch = _call(branches.make_branch)
    rename_branch = _call(branches.rename_branch)
    choose_branch = _call(branches.choose_branch)
    compare_branches = _call(branches.compare_branches)
    delete_branch = _call(branches.delete_branch)

    create_schedule = _call(schedules.create_schedule)
    get_schedule = _call(schedules.get_schedule)
    list_schedules = _list(schedules.list_schedules)
    list_schedule_turns = _list(schedules.list_schedule_turns)
    pause_schedule = _call(schedules.pause_schedule)
    resume_schedule = _call(schedules.resume_schedule)
    update_schedule = _call(schedules.update_schedule)
    run_schedule = _call(schedules.run_schedule)
    delete_schedule = _call(schedules.delete_schedule)

    create_webhook = _call(webhooks.create_webhook)
    get_webhook = _call(webhooks.get_webhook)
    list_webhooks = _call(webhooks.list_webhooks)
    update_webhook = _call(webhooks.update_webhook)
    delete_webhook = _call(webhooks.delete_webhook)
    rotate_webhook_secret = _call(webhooks.rotate_webhook_secret)
    list_webhook_deliveries = _list(webhooks.list_webhook_deliveries)
    replay_webhook_delivery = _call(webhooks.replay_webhook_delivery)
    replay_dead_webhook_deliveries = _call(webhooks.replay_dead_webhook_deliveries)

    create_inbound_source = _call(inbound_sources.create_inbound_source)
    get_inbound_source = _call(inbound_sources.get_inbound_source)
    list_inbound_sources = _call(inbound_sources.list_inbound_sources)
    update_inbound_source = _call(inbound_sources.update_inbound_source)
    delete_inbound_source = _call(inbound_sources.delete_inbound_source)
    rotate_inbound_source_secret = _call(inbound_sources.rotate_inbound_source_secret)

    turn_events = _follow(following.turn_events)
    thread_events = _follow(following.thread_events)
    user_events = _follow(following.user_events)
    create_stream_token = _call(calls.create_stream_token)

    upload_file = _call(transfers.upload_file)
    download_file = _call(transfers.download_file)
    save_file = _call(transfers.save_file)
    download_thumbnail = _call(transfers.download_thumbnail)

    read_context = _call(calls.read_context)
    write_context = _call(calls.write_context)
    delete_context = _call(calls.delete_context)
    list_summaries = _call(calls.list_summaries)
    read_usage = _call(calls.read_usage)

    def close(self) -> None:
        """Close the connections."""
        if self._owns_http:
            self._http.close()

    def __enter__(self) -> "Threadmill":  # noqa: PYI034 - Self came with Python 3.11
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def carry_out(self, plan: Plan[T]) -> T:
        """Do the steps of a plan."""
        run = Run(plan, self._gateway.retries)
        while run.step is not None:
            try:
                outcome = self._do(run.step)
            except Exception as error:  # noqa: BLE001, PERF203 - raised by the plan, if it has no answer to it
                run.fail(error)
            else:
                run.resume(outcome)
        return run.result

    def follow(self, feed: Feed) -> Generator[Event, None, None]:
        """Read a stream over all of its connections."""
        follower = self._gateway.follower(feed)
        while not follower.is_over:
            failure: ThreadmillError | None = None
            request = follower.request()
            try:
                with closing(self._open(request, is_stream=True)) as response:
                    if response.status_code in (200, 204):
                        follower.open(response.status_code, response.headers.get("content-type", ""))
                        for chunk in response.iter_bytes():
                            yield from follower.feed(chunk)
                            if follower.is_over:
                                return
                    else:
                        failure = follower.refuse(self._gateway.answer(response, response.read()), request)
            except httpx.RequestError as error:
                failure = lose(error)
            if not follower.is_over:
                time.sleep(follower.pause(failure))

    def _do(self, step: Request | Work | Pause) -> Any:
        if isinstance(step, Pause):
            return time.sleep(step.seconds)
        if isinstance(step, Work):
            return step.run()
        try:
            with closing(self._open(step)) as response:
                return self._read(response, step)
        except httpx.RequestError as error:
            raise lose(error) from error

    def _open(self, request: Request, *, is_stream: bool = False) -> httpx.Response:
        body = request.body.chunks() if isinstance(request.body, FileSource) else request.body
        built = self._gateway.build(self._http, request, body, is_stream=is_stream)
        return self._http.send(built, stream=True, follow_redirects=False)

    def _read(self, response: httpx.Response, request: Request) -> Answer:
        if request.sink is None or not response.is_success:
            return self._gateway.answer(response, response.read())
        request.sink.begin()
        for chunk in response.iter_bytes():
            request.sink.write(chunk)
        return self._gateway.answer(response, b"")
