"""Which public verbs and parameters there are, and which of them hostile values go to.

What stays true: a new verb, or a new parameter of one, is here or the test of it fails.
"""

import inspect
from collections.abc import Iterator
from typing import Any, get_args

import producers
import threadmill
from producers.producer import Producer
from producers.slack import SlackApp
from producers.turn import AsyncTurn, Turn
from store.file_store import FileStore
from store.thread_store import ThreadStore
from tests.integration.hostile.verbs import VERBS

#: The classes whose methods are public verbs.
CLASSES: dict[str, type] = {
    "ThreadStore": ThreadStore,
    "FileStore": FileStore,
    "Producer": Producer,
    "Turn": Turn,
    "AsyncTurn": AsyncTurn,
    "SlackApp": SlackApp,
}
#: Parameters that take an object of ours, or of SQLAlchemy's, which carries no data of a user.
WIRING = {"self", "cls", "settings", "file_store", "thread_store"}
#: Verb → why no hostile value goes to it.
LEFT_OUT = {
    "ThreadStore.close": "ends the store that the others are tried on",
    "FileStore.close": "ends the files that the others are tried on",
    "Producer.close": "ends the producer that the others are tried on",
    "Producer.close_async": "ends the producer that the others are tried on",
    "SlackApp.start": "begins to write to Slack",
    "SlackApp.run": "begins to write to Slack",
    "SlackApp.close_async": "ends the app that the others are tried on",
    "producers.send_message_in_async": "as send_message_in; SQLite has no connections of asyncio",
    "producers.send_message_in_atomic": "as send_message, on the connection that Django's settings name",
    "producers.thread_events": "iterates over producers.thread_events_async, on a loop of its own",
    "producers.user_events": "iterates over producers.user_events_async, on a loop of its own",
    "Turn.events": "iterates over AsyncTurn.events, on a loop of its own",
    # Methods of a producer are what functions of the same names call.
    "Producer.send": "producers.send_message calls it",
    "Producer.send_async": "producers.send_message_async calls it",
    "Producer.requeue": "producers.requeue_turn calls it",
    "Producer.requeue_async": "producers.requeue_turn_async calls it",
    **{
        f"Producer.{name}": f"producers.{name} calls it"
        for name in (
            "warm_up", "warm_up_async", "find_turn", "find_turn_async", "list_turns", "list_turns_async", "read_thread",
            "read_thread_async", "requeue_turns", "thread_events", "thread_events_async", "user_events",
            "user_events_async",
        )
    },
}  # fmt: skip
#: Public names that are no verbs over what is stored, and why.
NO_VERBS = {
    "Agent": "asks a model; what it stores goes through the verbs of a store",
    "register": "a worker's module names its agents",
    "tool": "a worker's module names its tools",
    "ask_user": "a tool",
    "hand_over_to": "a worker's module names its tools",
    "Tool": "a worker's module names its tools",
    "mcp": "a worker's module names its tool servers",
    "WEB_TOOLS": "a value",
    "RecallModel": "a model",
    "Event": "a type",
    "ThreadEvent": "a type",
    "create_gateway": "makes an app; what is asked of it is tried over HTTP",
    "run_gateway": "a part of an app's lifespan",
    "create_slack_app": "makes an app; what is sent to it is tried on the verbs of SlackApp",
    "attach_to_bolt": "makes an app of Bolt's hear what is sent to it",
    "Settings": "the operator's, read from the environment",
}


def list_missing() -> list[str]:
    """List the verbs, and the parameters of verbs, that no hostile value goes to and nobody left out."""
    return [name for name in _list_names() if name not in LEFT_OUT and not _is_tried(name)]


def _list_names() -> Iterator[str]:
    """Yield `Class.verb` and `Class.verb(parameter)` of all that is public."""
    for class_name, class_ in CLASSES.items():
        for name, member in inspect.getmembers(class_, callable):
            if not name.startswith("_"):
                yield from _name_parameters(f"{class_name}.{name}", member)
    for name in {*producers.__all__, *threadmill.__all__}:
        member = getattr(producers, name, None) or getattr(threadmill, name)
        if inspect.isfunction(member) and name not in NO_VERBS:
            yield from _name_parameters(f"producers.{name}", member)
        elif name not in NO_VERBS and not inspect.isclass(member):
            yield name


def _name_parameters(name: str, function: Any) -> Iterator[str]:
    yield name
    if name in LEFT_OUT:
        return
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            # Those that a `TypedDict` of ours names.
            for keywords in get_args(parameter.annotation):
                yield from (f"{name}({keyword})" for keyword in keywords.__annotations__)
        elif parameter.name not in WIRING:
            yield f"{name}({parameter.name})"


def _is_tried(name: str) -> bool:
    verb_name, _, parameter = name.removesuffix(")").partition("(")
    verbs = [verb for key, verb in VERBS.items() if key == verb_name or key.startswith(f"{verb_name} ")]
    return any(not parameter or parameter in verb.arguments for verb in verbs)
