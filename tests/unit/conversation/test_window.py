"""The window: what a model sees of a history, and that its beginning stays the same."""

from itertools import pairwise, takewhile

from hypothesis import given
from hypothesis import strategies as st

from agent.chat_messages import build_messages
from conversation.message import Message, ToolCall
from conversation.window import fit_into_tokens, start_at_turn_boundary, window_start

TURNS = 50
WORDS = "lorem ipsum dolor sit amet " * 4


def words(message: Message) -> int:
    return len(message.content.split())


def shared_prefix(first: str, second: str) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))


def turn(index: int, *, with_tool: bool = False) -> list[Message]:
    question = Message(role="user", content=f"question {index} {WORDS}")
    answer = Message(role="assistant", content=f"answer {index} {WORDS}")
    if not with_tool:
        return [question, answer]
    call = ToolCall(f"call-{index}", "look", "{}")
    result = Message(role="tool", tool_call_id=call.id, name="look", content=f'"{WORDS}"')
    return [question, Message(role="assistant", tool_calls=(call,)), result, answer]


@given(to_seq=st.integers(0, 100_000), max_messages=st.integers(1, 500))
def test_the_count_of_messages_stays_between_half_and_all(to_seq: int, max_messages: int) -> None:
    shown = to_seq - window_start(to_seq, max_messages)

    assert shown <= max_messages
    assert shown >= min(to_seq, max_messages - max_messages // 2) or max_messages == 1


def test_the_count_window_moves_only_in_jumps() -> None:
    starts = [window_start(to_seq, 40) for to_seq in range(1, 400)]

    jumps = {later - earlier for earlier, later in pairwise(starts)}
    assert jumps == {0, 20}
    assert sum(later != earlier for earlier, later in pairwise(starts)) == 18


def test_a_window_begins_with_a_user_message_and_keeps_system_messages() -> None:
    system = Message(role="system", content="rules")
    _question, asks, result, answer = turn(1, with_tool=True)
    second = turn(2)

    assert start_at_turn_boundary([system, asks, result, answer, *second]) == (system, *second)
    assert tuple(start_at_turn_boundary([asks, result])) == (asks, result)


def numbered(*messages: Message, first: int = 1) -> tuple[Message, ...]:
    for seq, message in enumerate(messages, start=first):
        message.seq = seq
    return messages


def test_an_assistant_who_spoke_first_is_kept_and_the_end_of_a_turn_is_not() -> None:
    def thread(first: int) -> tuple[Message, ...]:
        system, greeting = Message(role="system", content="rules"), Message(role="assistant", content="Hello!")
        return numbered(system, greeting, Message(role="user", content="Yes, please."), first=first)

    whole, cut = thread(first=1), thread(first=7)

    assert start_at_turn_boundary(whole) == whole
    assert start_at_turn_boundary(whole[1:]) == whole[2:]
    assert start_at_turn_boundary(cut) == (cut[0], cut[2])
    # In a thread of this process's memory nothing is cut.
    unsaved = (Message(role="assistant", content="Hello!"), Message(role="user", content="Yes, please."))
    assert start_at_turn_boundary(unsaved) == unsaved


def test_a_turn_that_a_system_message_asked_for_is_kept_whole() -> None:
    turn_id = "0198f3c0-0000-7000-8000-000000000001"
    asked = Message(role="system", content="Ask how it went.", turn_id=turn_id)
    answer = Message(role="assistant", content="How did it go?", turn_id=turn_id)
    window = numbered(asked, answer, Message(role="user", content="Well."), first=41)

    assert start_at_turn_boundary(window) == window


@given(limit=st.integers(1, 400), tools=st.lists(st.booleans(), min_size=1, max_size=30))
def test_tokens_are_kept_to_by_leaving_out_whole_turns(limit: int, tools: list[bool]) -> None:
    system = Message(role="system", content="these rules hold")
    turns = [turn(index, with_tool=tool) for index, tool in enumerate(tools)]
    turns[-1] = turns[-1][:1]
    history = [system, *(message for one in turns for message in one)]

    window = fit_into_tokens(history, limit, words)

    assert window[0] is system
    assert window[-1] is history[-1]
    assert list(window[1:]) == history[len(history) - len(window) + 1 :]
    assert window[1].role == "user"
    spent = sum(words(message) for message in window)
    assert spent <= limit or len(window) == 2


def test_the_beginning_of_requests_stays_the_same_over_fifty_turns() -> None:
    history: list[Message] = [Message(role="system", content="Be brief.")]
    shared: list[float] = []
    before = ""

    for index in range(TURNS):
        question, answer = turn(index)
        history.append(question)
        window = fit_into_tokens(history, 600, words)
        sent = str(build_messages(system_texts=["You help."], window=window))
        if before:
            # All that the last request said stands at the beginning of this one, but for its end.
            shared.append(shared_prefix(before, sent) / len(before))
        before = sent
        history.append(answer)

    whole = [share for share in shared if share > 0.99]
    jumps = [share for share in shared if share <= 0.99]
    assert len(shared) == TURNS - 1
    # From 600 words down to 300 at about 45 a turn: one jump in every six or seven turns.
    assert 1 <= len(jumps) <= TURNS // 6
    assert len(whole) == len(shared) - len(jumps)
