"""The token budget of one turn's files, and its division among them.

What stays true: newer messages come first; the files of one message share alike; the same files
and the same budget give the same shares, so that a resumed turn asks what it had asked.
"""

from collections.abc import Mapping, Sequence

#: Tokens below which the beginning of a file says too little to be worth showing.
PIECE_MIN_TOKENS = 200


class FileTokenBudget:
    """The tokens that remain for files in a turn."""

    def __init__(self, max_tokens: int) -> None:
        self._remaining_tokens = max_tokens

    def allocate(self, requested_tokens: Sequence[Mapping[int, int]], whole_only: frozenset[int]) -> dict[int, int]:
        """Allocate tokens by file, out of what each requests, message by message, the newest first.

        A file that gets fewer than it requests is truncated, or left out where it stands in `whole_only`.
        """
        granted_tokens: dict[int, int] = {}
        for message in requested_tokens:
            # The smallest first: what it leaves of its share is for the others.
            for index, (file, tokens) in enumerate(sorted(message.items(), key=lambda item: item[::-1])):
                share = self._remaining_tokens // (len(message) - index)
                granted = min(tokens, self._remaining_tokens if file in whole_only else share)
                if granted < tokens and (file in whole_only or granted < PIECE_MIN_TOKENS):
                    continue
                granted_tokens[file] = granted
                self._remaining_tokens -= granted
        return granted_tokens
