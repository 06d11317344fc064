"""The conversation as the model sees it in one turn: the window, the turn's new messages, their files.

What stays true: the window is the same for every call of the turn, so that a resumed run asks what
the first one asked.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agent.chat_messages import build_messages
from agent.files.token_budget import FileTokenBudget
from agent.models.capabilities import capabilities_of
from agent.models.protocol import ModelRequest
from agent.models.token_counter import TokenCounter
from agent.run_state import RunState
from conversation.message import Message
from conversation.window import fit_into_tokens, start_at_turn_boundary


@dataclass(slots=True)
class ModelView:
    """The model's view of the conversation during one run."""

    state: RunState
    window: Sequence[Message] = ()
    _parts: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)

    async def load_window(self) -> None:
        """Fit the turn's window into the agent's tokens, and show the files of its messages."""
        self.window = await self._fit_window()
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
        dependencies = self.state.dependencies
        capabilities = self.state.agent.capabilities
        if capabilities is None:
            capabilities = await capabilities_of(dependencies.model, dependencies.model_name)
        new_parts = await dependencies.attachments.build_parts(
            self.state.claimed.tenant, messages, capabilities, budget
        )
        self._parts = {**self._parts, **new_parts}

    def build_request(self) -> ModelRequest:
        """Build the request of the next model call."""
        agent = self.state.agent
        return ModelRequest(
            model=self.state.dependencies.model_name,
            messages=build_messages(
                system_texts=[agent.purpose, *self.state.claimed.context, self.state.tools.note],
                window=self.window,
                new_messages=self.state.transcript.messages,
                attachment_parts=self._parts,
            ),
            tools=self.state.tools.toolbox.declarations(),
            parameters=agent.request_parameters(),
            fallbacks=agent.fallbacks,
            timeout_seconds=agent.model_timeout_seconds,
            max_attempts=agent.model_max_attempts,
        )
