"""Answers in OpenAI's format of chat completions: they are the chunks that all else reads.

What stays true: an error that stands in place of an answer, or within one, is raised, whatever its status.
"""

from agent.models.http.call import make_error
from agent.models.http.events import DONE, Event
from agent.models.json_object import JsonObject, as_list


class OpenAIAnswer:
    """One answer in OpenAI's format."""

    def __init__(self) -> None:
        self.is_done = False

    def read_whole(self, answer: JsonObject) -> JsonObject:
        """The one chunk of a whole answer."""
        if answer.get("error"):
            raise make_error(answer)
        return _make_sound(answer)

    def read_event(self, event: Event) -> JsonObject | None:
        """The chunk of an event; None where it says nothing."""
        if event.data == DONE:
            self.is_done = True
            return None
        if event.name == "error" or (isinstance(event.data, JsonObject) and event.data.get("error")):
            raise make_error(event.data, text=str(event.data))
        return _make_sound(event.data) if isinstance(event.data, JsonObject) else None


def _make_sound(chunk: JsonObject) -> JsonObject:
    """The chunk, where what the format has a list, an object or a word for is one; all else of it is left out."""
    choices = [choice for choice in as_list(chunk.get("choices")) if isinstance(choice, JsonObject)]
    for choice in choices:
        for name in ("finish_reason", "native_finish_reason"):
            choice[name] = choice.get(name) if isinstance(choice.get(name), str) else None
        for message in (choice.get("message"), choice.get("delta")):
            if isinstance(message, JsonObject):
                calls = [call for call in as_list(message.get("tool_calls")) if isinstance(call, JsonObject)]
                for call in calls:
                    call["index"] = call.get("index") if isinstance(call.get("index"), int) else None
                message["tool_calls"] = calls
    chunk["choices"] = choices
    return chunk
