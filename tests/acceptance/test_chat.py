"""The chat page over a real gateway and real workers, and a page with a bare `EventSource`: through deaths and cuts."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from store.keys.key_rows import KeyRequest, create_key
from store.keys.key_text import make_key
from tests.acceptance.chat import PATIENCE, Chat, CuttingProxy, OpenTab
from tests.acceptance.installation import Installation, files, worker
from tests.conftest import LendDatabase
from threadmill.embedded import programs
from threadmill.embedded.home import Home
from threadmill.embedded.valkey import EmbeddedValkey

pytestmark = pytest.mark.soak

EXAMPLES = Path(__file__).parents[2] / "examples"
PICTURE = EXAMPLES / "support" / "order-label.png"
FIRST_PAGE = EXAMPLES / "web" / "first_page" / "index.html"
#: What the agent says word by word, thirty a second.
LONG = " ".join(f"word{number}" for number in range(40))


class Gateway:
    """A gateway of an installation, which can be restarted, and a key of one user."""

    def __init__(self, installation: Installation, name: str = "gateway") -> None:
        self.installation, self.name = installation, name
        # Two gateways of one installation are two processes.
        self._program = replace(programs.gateway(installation.folder / name), name=name)
        self.port = Home(installation.folder / name).last_port()
        key = make_key()
        request = KeyRequest(tenant="default", user="ada", scopes=("read", "write", "operate"))
        installation.producer.database.run(create_key, request, key)
        self.key = key.text

    def start(self, **variables: str) -> None:
        self.installation.start(self._program, **variables)

    def restart(self) -> None:
        """As a deployment does."""
        self.installation.stop(self.name)
        self.start()


@pytest.fixture(scope="module")
def installation(
    lend_database: LendDatabase,
    migrated_template: str,
    valkey_server: EmbeddedValkey,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Installation]:
    with lend_database(migrated_template) as url:
        installation = Installation(url, valkey_server.url, tmp_path_factory.mktemp("chat"))
        installation.environment["THREADMILL_DEFAULT_AGENT"] = "slow_talker"
        try:
            yield installation
        finally:
            installation.close()


@pytest.fixture(scope="module")
def gateway(installation: Installation) -> Gateway:
    gateway = Gateway(installation)
    gateway.start()
    installation.start(worker(), files())
    return gateway


@pytest.fixture
def open_chat(open_tab: OpenTab, gateway: Gateway) -> Callable[..., Chat]:
    def make(port: int = gateway.port, *, beside: Chat | None = None) -> Chat:
        return open_tab(port, gateway.key, beside=beside)

    return make


def wait_until_over(chat: Chat) -> None:
    expect(chat.page.locator("#stop")).to_be_hidden(timeout=PATIENCE)


def test_a_conversation_is_the_same_in_two_tabs_and_after_a_reload(
    open_chat: Callable[..., Chat], installation: Installation
) -> None:
    one = open_chat()
    one.watch()
    one.send(LONG)
    one.see(f'You wrote: "{LONG[:20]}')
    two = open_chat(beside=one)
    two.see(f'You wrote: "{LONG[:20]}')
    wait_until_over(one)
    # Its fifty words came in more than a few pieces.
    assert one.count_growths() > 10
    two.send('call write with {"text": "<b>x</b>"}')
    one.see("write returned: wrote <b>x</b>")
    one.page.set_input_files("#files", PICTURE)
    one.send("And this?")
    two.see("You attached: 1 image(s).")
    wait_until_over(two)

    for chat in (one, two):
        chat.page.reload()
        expect(chat.page.locator("#log .message.user img")).to_be_visible(timeout=PATIENCE)
        chat.see("You attached: 1 image(s).")
    assert one.said() == two.said()
    assert len(one.said()) == 7
    fold = one.page.locator("details.tool")
    fold.locator("summary").click()
    assert "wrote <b>x</b>" in fold.inner_text()
    history = installation.query("SELECT count(*) AS n FROM messages")
    assert history[0]["n"] == 8
    assert one.page.locator("#threads a").count() == 1


def test_a_turn_is_stopped_and_tried_again(open_chat: Callable[..., Chat], installation: Installation) -> None:
    chat = open_chat()
    chat.send('call hold with {"gate": "stopped"}')
    installation.saw("hold begins")
    chat.send("behind it")
    chat.see("Waits: 1 before it.")
    chat.page.get_by_role("button", name="Stop").click()
    chat.see("Stopped.")
    chat.see('You wrote: "behind it"')
    installation.open_gate("stopped")
    chat.page.get_by_role("button", name="Try again").click()
    chat.see("hold returned: held")
    wait_until_over(chat)
    before = chat.said()
    chat.page.reload()
    chat.see("hold returned: held")

    assert [re.sub(r"Tool.*", "", text) for text in chat.said()] == [re.sub(r"Tool.*", "", text) for text in before]


def test_an_answer_comes_once_through_a_dead_worker_a_restarted_gateway_and_cut_connections(
    open_chat: Callable[..., Chat], gateway: Gateway, installation: Installation
) -> None:
    with CuttingProxy(gateway.port) as proxy:
        chat = open_chat(proxy.port)
        chat.send(LONG)
        chat.see("word9")
        proxy.cut()
        chat.see("word19")
        gateway.restart()
        wait_until_over(chat)
        chat.send("Once more.")
        chat.see('You wrote: "Once')
        installation.processes["one"].kill()
        installation.start(worker())
        chat.send("And more.")
        proxy.cut()
        chat.see('You wrote: "And more."')
        wait_until_over(chat)
    said = chat.said()

    assert len(said) == 6
    assert said[::2] == [LONG, "Once more.", "And more."]
    replies = installation.query(
        "SELECT content FROM messages WHERE role = 'assistant' AND content LIKE '%%more.%%' ORDER BY seq"
    )
    assert [text.split() for text in said[3::2]] == [row["content"].split() for row in replies]


def test_what_waits_for_a_person_is_decided_with_its_arguments_in_view(
    open_chat: Callable[..., Chat], installation: Installation
) -> None:
    one = open_chat()
    one.send('call refund with {"amount": 5}')
    one.see("May refund run with this?")
    one.see('"amount": 5')
    expect(one.page.locator("#progress-text")).to_contain_text("Waits for a decision")
    two = open_chat(beside=one)
    two.see("May refund run with this?")
    for chat in (one, two):
        # Below the reply that asks for it.
        expect(chat.page.locator("#log > *").last.locator(".call")).to_have_count(1)
        expect(chat.page.locator(".tool summary")).to_have_text("Tool refund · waits")

    two.page.get_by_role("button", name="Approve").click()
    one.see("refund returned: refunded 5")
    wait_until_over(one)
    expect(one.page.locator(".call")).to_have_count(0)
    expect(one.page.locator(".tool summary")).to_have_text("Tool refund · done")
    one.send('call refund with {"amount": 7}')
    one.page.get_by_role("button", name="Deny").click()
    wait_until_over(one)

    decided = installation.query("SELECT decision, decided_by FROM pending_calls ORDER BY requested_at")
    assert [row["decision"] for row in decided] == ["approve", "deny"]
    assert installation.query("SELECT count(*) AS n FROM pending_calls WHERE decided_by IS NULL")[0]["n"] == 0


def test_an_answer_has_alternatives_and_a_question_too(open_chat: Callable[..., Chat]) -> None:
    chat = open_chat()
    chat.send("The first question.")
    chat.see('You wrote: "The first question."')
    wait_until_over(chat)

    chat.page.get_by_role("button", name="Answer again").click()
    branches = chat.page.locator("#branches option")
    expect(branches).to_have_count(2, timeout=PATIENCE)
    wait_until_over(chat)
    chat.page.get_by_role("button", name="Ask in another way").last.click()
    chat.send("Another question.")
    chat.see('You wrote: "Another question."')
    expect(branches).to_have_count(3, timeout=PATIENCE)
    wait_until_over(chat)
    chat.page.locator("#branches").select_option(index=0)

    chat.see('You wrote: "The first question."')
    expect(chat.page.locator("#log")).not_to_contain_text("Another question.", timeout=PATIENCE)


def test_a_message_is_sent_into_the_answer_that_is_written(
    open_chat: Callable[..., Chat], installation: Installation
) -> None:
    chat = open_chat()
    chat.send('call hold with {"gate": "steered"}')
    expect(chat.page.locator("#progress-text")).to_contain_text("Answering", timeout=PATIENCE)
    chat.page.get_by_label("While an answer is written").select_option("steer")
    chat.send("and mind this")
    chat.see("Waits")
    installation.open_gate("steered")
    wait_until_over(chat)

    chat.see("and mind this")
    steered = installation.query("SELECT merged_into FROM turns WHERE merged_into IS NOT NULL")
    assert len(steered) == 1


def test_a_bare_event_source_with_a_token_goes_on_behind_its_last_event(
    installation: Installation, gateway: Gateway, browser: Browser
) -> None:
    """The page of the tutorial, whose text this file's neighbours check."""
    own = Gateway(installation, "own")
    own.start(THREADMILL_GATEWAY_PAGE=str(FIRST_PAGE))
    with CuttingProxy(own.port) as proxy:
        page = browser.new_context().new_page()
        page.on("dialog", lambda dialog: dialog.accept(own.key))
        page.goto(f"http://127.0.0.1:{proxy.port}/")
        page.get_by_placeholder("Ask something").fill(f"<b>Hello</b> {LONG}")
        page.get_by_role("button", name="Send").click()
        log = page.locator("#log")
        expect(log).to_contain_text("word3", timeout=PATIENCE)
        proxy.cut()
        expect(log).to_contain_text('word39"', timeout=PATIENCE)
        expect(log.locator("p")).to_have_count(2)
        page.get_by_placeholder("Ask something").fill("again")
        page.get_by_role("button", name="Send").click()
        expect(log).to_contain_text('You wrote: "again"', timeout=PATIENCE)
    replies = installation.query(
        "SELECT m.role || ': ' || m.content AS text FROM messages m JOIN threads t ON t.key = m.thread_key "
        "WHERE t.id = 'page-of-ada' ORDER BY seq"
    )

    assert log.locator("p").all_inner_texts() == [" ".join(row["text"].split()) for row in replies]
