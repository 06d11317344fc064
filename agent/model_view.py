"""The conversation as the model sees it in one turn: the window, the turn's new messages, their files.

What stays true: the window is the same for every call of the turn, so that a resumed run asks what
the first one asked; it shrinks only where the model takes no more, and what is left out then is told.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from agent.chat_messages import build_messages
from agent.files.token_budget import FileTokenBudget
from agent.models.capabilities import Capabilities, capabilities_of
from agent.models.protocol import ModelRequest
from agent.models.token_counter import TokenCounter
from agent.run_state import RunState
from agent.window.fitting import FittedMessages, cut_text, fit_messages, size_of_message
from agent.window.request_size import RequestSize
from conversation.message import Message
from conversation.window import fit_into_tokens, split_into_turns, start_at_turn_boundary

#: The part of a limit that is used: how a provider counts is not known to the token.
USED_SHARE = 0.85
#: Tokens below which a request is not shrunk any further: its model takes none.
SHRUNK_MIN_TOKENS = 64
#: Tokens of an answer for which a known window keeps room, where the agent names no limit.
ANSWER_TOKENS = 1024

#: What the model reads when it is asked for the last time in a turn.
LAST_STEP = "This is the last step of this turn, and no tools are left. Answer now, with what you know."


@dataclass(slots=True)
class ModelView:
    """The model's view of the conversation during one run."""

    state: RunState
    window: Sequence[Message] = ()
    #: What was left out because the model takes no more; None where nothing was.
    omitted: Mapping[str, Any] | None = None
    #: Tokens of a request, at most, by the estimate of `agent.window`; None while nothing is to be left out.
    _max_size: int | None = None
    #: The same, where it has older messages left out or cut.
    window_tokens: int | None = None
    _parts: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    _capabilities: Capabilities | None = None

    async def load_window(self) -> None:
        """Fit the turn's window into the agent's tokens, and show the files of its messages."""
        self.window = await self._fit_window()
        if self.state.claimed.may_have_files:
            await self.show_files(self.window, FileTokenBudget(self.state.agent.max_file_tokens))

    async def _fit_window(self) -> Sequence[Message]:
        window = start_at_turn_boundary(self.state.claimed.window)
        limit = self.state.agent.max_window_tokens
        if limit is None:
            return window
        counter = TokenCounter(self.state.dependencies.model_name)
        # The first count loads a tokenizer: tens of megabytes, and never on the loop.
        return await asyncio.to_thread(fit_into_tokens, window, limit, counter.count)

    async def show_files(self, messages: Sequence[Message], budget: FileTokenBudget) -> None:
        """Let the model see the files of these messages from now on."""
        if not any(message.attachments for message in messages):
            return
        new_parts = await self.state.dependencies.attachments.build_parts(
            self.state.claimed.tenant, messages, await self._load_capabilities(), budget
        )
        self._parts = {**self._parts, **new_parts}

    async def _fit_known_window(self) -> FittedMessages:
        """Leave out what the model's window, where it is known, does not take, before the model says no."""
        max_tokens = (await self._load_capabilities()).max_input_tokens
        fitted = self._fit()
        if max_tokens is None:
            return fitted
        limit = max_tokens - min(self.state.agent.max_tokens or ANSWER_TOKENS, max_tokens // 4)
        size = self._size(fitted)
        if size.total <= limit:
            return fitted
        counter = TokenCounter(self.state.dependencies.model_name)
        messages = (*fitted.window, *fitted.new_messages)
        counted_tokens = await asyncio.to_thread(lambda: sum(map(counter.count, messages)))
        if counted_tokens + size.fixed <= limit:
            return fitted
        # The estimate by which it is cut is higher than the count.
        messages_size = size.messages * max(limit - size.fixed, 0) // max(counted_tokens, 1)
        await self._shrink_to(size.fixed + messages_size)
        return self._fit()

    async def shrink(self, max_tokens: int | None) -> bool:
        """Leave out more, after the model found the request too long; it takes so many tokens, if it said so.

        Returns whether the next request is smaller.
        """
        size = self._size(self._fit()).total
        target = int((max_tokens or 0) * USED_SHARE)
        if not SHRUNK_MIN_TOKENS <= target < size * USED_SHARE:
            target = size // 2
        if target < SHRUNK_MIN_TOKENS:
            return False
        await self._shrink_to(target)
        return self._size(self._fit()).total < size * 0.97

    async def _shrink_to(self, max_size: int) -> None:
        self._max_size = max_size
        file_tokens = sum(RequestSize.of_parts(parts) for parts in self._parts.values())
        if file_tokens > max_size // 2:
            all_messages = (*self.window, *self.state.transcript.messages)
            await self.show_files(all_messages, FileTokenBudget(max_size // 4))

    async def build_request(self, *, offers_tools: bool = True) -> ModelRequest:
        """Build the request of the next model call; without tools, the model is told that it has to answer."""
        fitted = await self._fit_known_window()
        agent = self.state.agent
        toolbox = self.state.tools.toolbox
        tools = toolbox.declarations() if offers_tools else ()
        step_texts = (LAST_STEP,) if len(toolbox) and not offers_tools else ()
        self._note_omissions(fitted)
        return ModelRequest(
            model=self.state.dependencies.model_name,
            messages=build_messages(
                system_texts=[*self._system_texts(), *step_texts],
                window=fitted.window,
                new_messages=fitted.new_messages,
                attachment_parts=self._parts,
            ),
            tools=tools,
            parameters=agent.request_parameters(),
            fallbacks=agent.fallbacks,
            timeout_seconds=agent.model_timeout_seconds,
            silence_seconds=agent.model_silence_seconds,
            max_attempts=agent.model_max_attempts,
            profile=agent.request_profile(self.state.dependencies.model_name),
            breakers=self.state.dependencies.breakers,
        )

    def _note_omissions(self, fitted: FittedMessages) -> None:
        if not fitted.left_out and not fitted.cut:
            return
        self.omitted = fitted.to_json()
        older_ids = {message.id for turn in split_into_turns(self.window)[:-1] for message in turn}
        if older_ids & {*fitted.left_out, *fitted.cut}:
            self.window_tokens = self._max_size

    def _fit(self) -> FittedMessages:
        new_messages = tuple(self.state.transcript.messages)
        if self._max_size is None:
            return FittedMessages(tuple(self.window), new_messages)
        return fit_messages(self.window, new_messages, max(self._max_size - self._fixed_size(), SHRUNK_MIN_TOKENS))

    def _system_texts(self) -> list[str]:
        context = self.state.claimed.context
        if self._max_size is not None and context:
            context = tuple(cut_text(text, self._max_size // 2 // len(context))[0] for text in context)
        return [self.state.agent.purpose, *context, self.state.tools.note]

    def _size(self, fitted: FittedMessages) -> RequestSize:
        messages = (*fitted.window, *fitted.new_messages)
        return RequestSize(fixed=self._fixed_size(), messages=sum(map(size_of_message, messages)))

    def _fixed_size(self) -> int:
        """The size of what stands around the messages: system texts, tools, files."""
        tools = self.state.tools.toolbox.declarations()
        return RequestSize.of_fixed(self._system_texts(), tools, self._parts.values())

    async def _load_capabilities(self) -> Capabilities:
        if self._capabilities is None:
            dependencies, own_capabilities = self.state.dependencies, self.state.agent.capabilities
            known_capabilities = await capabilities_of(dependencies.model, dependencies.model_name)
            self._capabilities = own_capabilities or known_capabilities
            if self._capabilities.max_input_tokens is None:
                max_input_tokens = known_capabilities.max_input_tokens
                self._capabilities = replace(self._capabilities, max_input_tokens=max_input_tokens)
        return self._capabilities
