"""The chat page in a real browser: what a person sees, through faults of the network, in two tabs, after a reload."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.acceptance.chat import PATIENCE, Chat, CuttingProxy, OpenTab
from tests.stub_gateway import EVIL as EVIL_NAME
from tests.stub_gateway import KEY, StubGateway

pytestmark = pytest.mark.soak

PICTURE = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000002000000020802000000fdd49a730000001249444154789c63f8cfc0c0f01f84191800"
    "1ded03fdd2ae7c340000000049454e44ae426082"
)
NewChat = Callable[..., Chat]
EVIL = '<img src=x onerror="window.wasRun = 1"><script>window.wasRun = 1</script>'


@pytest.fixture(scope="module")
def gateway() -> Iterator[StubGateway]:
    with StubGateway() as gateway:
        yield gateway


@pytest.fixture(scope="module")
def proxy(gateway: StubGateway) -> Iterator[CuttingProxy]:
    with CuttingProxy(gateway.port) as proxy:
        yield proxy


@pytest.fixture
def new_chat(open_tab: OpenTab, gateway: StubGateway) -> NewChat:
    """Makes a tab that is logged in, of a browser of its own or of another tab's."""

    def make(port: int = gateway.port, *, beside: Chat | None = None, **options: Any) -> Chat:
        return open_tab(port, KEY, beside=beside, **options)

    return make


def test_a_key_that_does_not_hold_is_refused_in_a_sentence(new_chat: NewChat, gateway: StubGateway) -> None:
    page = new_chat().page
    page.get_by_role("button", name="Log out").click()
    page.get_by_label("Key").fill("another")
    page.get_by_role("button", name="Log in").click()

    expect(page.get_by_role("alert")).to_have_text("This key is not valid: it may be mistyped, expired or revoked.")
    assert not [request for request in gateway.requests if KEY in request]


def test_what_a_dead_worker_wrote_goes_and_what_the_model_began_anew_is_replaced(new_chat: NewChat) -> None:
    chat = new_chat()
    chat.send("crash")
    chat.see("lost words")
    chat.see("better words")

    assert chat.said() == ["crash", "better words"]


def test_files_are_pasted_dropped_and_chosen_sent_when_they_are_up_and_saved_as_they_were(new_chat: NewChat) -> None:
    chat = new_chat()
    give = """([name, selector, kind]) => {
        const carrier = new DataTransfer();
        carrier.items.add(new File(["text"], name, { type: "text/plain" }));
        const event = kind === "paste" ? new ClipboardEvent(kind, { clipboardData: carrier, bubbles: true })
            : new DragEvent(kind, { dataTransfer: carrier, bubbles: true });
        document.querySelector(selector).dispatchEvent(event);
    }"""
    chat.page.evaluate(give, ["pasted.txt", "#text", "paste"])
    chat.page.evaluate(give, ["dropped.txt", "#scroll", "drop"])
    expect(chat.page.locator("#chosen li")).to_have_count(2)
    chat.page.get_by_role("button", name="Remove pasted.txt").click()
    chat.page.set_input_files("#files", {"name": f"{EVIL}.png", "mimeType": "image/png", "buffer": PICTURE})
    # Its files are on their way.
    chat.send("look")
    chat.see("You said: look")
    chat.page.reload()
    picture = chat.page.locator("#log .message.user img")
    expect(picture).to_be_visible(timeout=PATIENCE)

    assert "dropped.txt" in chat.said()[0]
    assert "pasted.txt" not in chat.said()[0]
    assert picture.evaluate("image => image.naturalWidth") == 2
    assert chat.page.evaluate("window.wasRun") is None
    with chat.page.expect_download() as download:
        chat.page.locator("#log button.file").last.click()
    assert download.value.path().read_bytes() == PICTURE


def open_with_two_that_wait(new_chat: NewChat) -> Chat:
    """A chat with an answer that is held in its middle, and two messages behind it."""
    chat = new_chat()
    chat.send("hold on")
    chat.see("half of an answer")
    chat.send("second")
    chat.send("third")
    chat.see("Waits: 2 before it.")
    return chat


def test_a_turn_is_stopped_and_those_behind_it_say_their_place_and_can_be_withdrawn(
    new_chat: NewChat, gateway: StubGateway
) -> None:
    chat = open_with_two_that_wait(new_chat)
    expect(chat.page.locator("#progress-text")).to_have_text("Answering, 2 more wait ")
    chat.page.locator("#log > *").last.get_by_role("button", name="Withdraw").click()

    expect(chat.page.get_by_label("Message", exact=True)).to_have_value("third")
    chat.page.get_by_role("button", name="Stop").click()
    chat.see("You said: second")
    assert chat.said()[0] == "hold on"
    assert "Not finished." in chat.said()[1]
    assert "Stopped." in chat.said()[2]
    assert chat.said()[3:] == ["second", "You said: second"]


def test_what_waits_stands_in_the_order_of_sending_whenever_it_is_told_of(
    new_chat: NewChat, gateway: StubGateway
) -> None:
    chat = open_with_two_that_wait(new_chat)
    thread = list(gateway.threads.values())[-1]

    # Behind the first ones, nothing of its own has the other one drawn anew.
    for position in (7, 8, 9):
        gateway.notice("turn.queued", thread, thread.turns[1], position=position)
        chat.see(f"Waits: {position} before it.")

    assert [text.split()[0] for text in chat.said()[2:]] == ["second", "third"]
    chat.page.get_by_role("button", name="Stop").click()


def test_a_question_is_answered_by_one_of_its_choices_or_in_its_type(new_chat: NewChat) -> None:
    chat = new_chat()
    chat.send("ask for a colour")
    chat.see("Which one?")
    expect(chat.page.locator("#progress-text")).to_contain_text("Waits for a decision")
    chat.page.get_by_role("button", name="blue").click()
    chat.see("You chose 'blue'")
    expect(chat.page.locator(".call")).to_have_count(0)
    chat.send("ask for a number")
    chat.page.get_by_label("Answer", exact=True).fill("7")
    chat.page.keyboard.press("Enter")

    chat.see("You chose 7")


def test_it_says_who_answers_where_several_agents_do_and_what_those_do_that_were_called(new_chat: NewChat) -> None:
    chat = new_chat()
    chat.send("hello")
    chat.see("You said: hello")
    shown_agent = "element => getComputedStyle(element, '::before').content"
    answers = chat.page.locator("#log .message.assistant")
    assert answers.last.evaluate(shown_agent) == "none"
    chat.send("desk, please")
    chat.see("You said: desk, please")
    assert [each.evaluate(shown_agent) for each in answers.all()] == ['"stub"', '"desk"']
    chat.page.reload()
    chat.see("You said: desk, please")
    assert [each.evaluate(shown_agent) for each in answers.all()] == ['"stub"', '"desk"']

    chat.send("team")
    chat.see("scout calls search…")
    steps = chat.page.locator("#log .agents li")
    expect(steps.first).to_have_text(f"{EVIL_NAME} thinks: done")
    chat.page.get_by_role("button", name="Stop").click()
    chat.see("The team is done.")
    expect(steps).to_have_count(0)
    assert chat.page.evaluate("window.wasRun") is None


def test_a_failure_is_a_sentence_and_is_tried_again(new_chat: NewChat) -> None:
    chat = new_chat()
    chat.send("fail once")
    chat.see("The answer failed: the provider refused.")
    chat.page.reload()
    chat.see("The answer failed: the provider refused.")
    chat.page.get_by_role("button", name="Try again").click()
    chat.see("The second time it works.")

    assert chat.said() == ["fail once", "The second time it works."]


def test_what_is_sent_without_a_network_is_kept_said_and_sent_once(
    new_chat: NewChat, proxy: CuttingProxy, gateway: StubGateway
) -> None:
    chat = new_chat(proxy.port)
    chat.send("before")
    chat.see("You said: before")
    chat.page.context.set_offline(True)
    expect(chat.page.locator("#note")).to_contain_text("You are offline")
    chat.send("meanwhile")
    chat.see("Not sent yet")
    chat.page.get_by_label("Message", exact=True).fill("half a thou")
    chat.page.context.set_offline(False)
    chat.see("You said: meanwhile")
    expect(chat.page.locator("#note")).to_be_hidden(timeout=PATIENCE)
    chat.page.reload()
    chat.see("You said: meanwhile")

    expect(chat.page.get_by_label("Message", exact=True)).to_have_value("half a thou")
    assert chat.said() == ["before", "You said: before", "meanwhile", "You said: meanwhile"]


def test_a_send_whose_answer_is_lost_is_one_turn(new_chat: NewChat, gateway: StubGateway) -> None:
    chat = new_chat()
    lost = []

    def lose(route: Any) -> None:
        route.fetch()
        lost.append(route.request.headers["idempotency-key"])
        route.abort() if len(lost) < 3 else route.continue_()

    chat.page.route(re.compile(r"/v1/threads/[^/]+/messages$"), lose)
    chat.send("only once")
    chat.see("You said: only once")
    expect(chat.page.locator("#log > *")).to_have_count(2)

    while len(lost) < 3:
        chat.page.wait_for_timeout(100)
    assert len(set(lost)) == 1
    assert chat.said() == ["only once", "You said: only once"]


def test_a_message_that_is_refused_says_why_and_is_given_back(new_chat: NewChat, gateway: StubGateway) -> None:
    chat = new_chat()
    chat.send("hello")
    chat.see("You said: hello")
    gateway.problem = 422, {"detail": "content: is too long", "fix": "send less"}
    chat.send("too much")
    chat.see("Content: is too long; send less.")
    gateway.problem = None
    chat.page.get_by_role("button", name="Edit").click()

    expect(chat.page.get_by_label("Message", exact=True)).to_have_value("too much")
    assert chat.said() == ["hello", "You said: hello"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_text_is_markup_and_the_page_fits_a_phone(new_chat: NewChat, scheme: str) -> None:
    chat = new_chat(color_scheme=scheme, viewport={"width": 360, "height": 640})
    chat.send(EVIL)
    chat.see(f"You said: {EVIL}")
    chat.send("echo [press](javascript:alert(1)) [here](https://example.com/a) `<b>` **bold**\n```\n<i>code</i>\n```")
    chat.see("You said: echo")

    assert chat.page.evaluate("window.wasRun") is None
    assert chat.page.locator("#log img, #log script").count() == 0
    assert chat.page.locator("#log a").evaluate_all("links => links.map(link => link.href)") == [
        "https://example.com/a"
    ]
    assert chat.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    chat.page.get_by_role("button", name="Conversations").click()
    expect(chat.page.locator("#threads a[aria-current]")).to_be_visible()
