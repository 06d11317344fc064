"""Parts of a message on their whole way: stored, loaded, and sent to the model in their order."""

from collections.abc import AsyncIterator

from agent.models.protocol import ModelReply, ModelRequest, StreamRestarted, TextDelta
from conversation.attachment import Attachment
from conversation.message import Message
from conversation.parts import FilePart, ImagePart, TextPart
from conversation.thread import Thread
from store.thread_store import ThreadStore
from threadmill import Agent

IMAGE = ImagePart("https://a.example/b.png")


class Listener:
    """A model that keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[ModelRequest] = []

    async def complete(self, request: ModelRequest) -> ModelReply:
        """Say nothing much."""
        self.asked.append(request)
        return ModelReply(content="ok", model="listener")

    async def stream(self, request: ModelRequest) -> AsyncIterator[TextDelta | StreamRestarted | ModelReply]:
        """The same, at once."""
        yield await self.complete(request)


def question() -> Message:
    return Message(
        role="user",
        parts=(TextPart("compare"), FilePart("a.txt"), TextPart("with"), IMAGE),
        attachments=[Attachment(filename="a.txt", content=b"words of a file")],
    )


async def test_a_question_of_parts_reaches_the_model_in_its_order(store: ThreadStore) -> None:
    model = Listener()
    agent = Agent(name="assistant", model=model, thread_store=store, file_store=store.file_store)

    await agent.go(Thread("t", messages=[question()]))
    again = await store.get_thread("t")
    again.add_message(Message(role="user", content="and now?"))
    await agent.go(again)

    for request in model.asked:
        asked = next(message for message in request.messages if message["role"] == "user")
        text, file, between, image = asked["content"]
        assert (text["text"], between["text"], image) == ("compare", "with", IMAGE.to_json())
        assert "words of a file" in file["text"]
    assert len(model.asked) == 2
    assert again.messages[0].parts == question().parts


async def test_a_stored_question_of_parts_is_found_by_its_text(store: ThreadStore) -> None:
    await store.save_thread(Thread("t", messages=[question()]))

    [hit] = await store.search_messages('"compare with"')

    assert hit.seq == 1
