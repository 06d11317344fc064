"""Who of the files of one turn gets how much of the room that there is for files.

What stays true: newer messages come first; the files of one message share alike; the same files
and the same room give the same shares, so that a resumed turn asks what it had asked.
"""

from collections.abc import Mapping, Sequence

#: Tokens below which the beginning of a file says too little to be worth showing.
PIECE_MIN_TOKENS = 200


class FileRoom:
    """What is left of a turn's tokens for files."""

    def __init__(self, max_tokens: int) -> None:
        self._left = max_tokens

    def shares(self, wanted: Sequence[Mapping[int, int]], whole_only: frozenset[int]) -> dict[int, int]:
        """Tokens by file, out of what each wants, message by message, the newest first.

        A file that gets fewer than it wants is cut, or left out where it stands in `whole_only`.
        """
        given: dict[int, int] = {}
        for message in wanted:
            # The smallest first: what it leaves of its share is for the others.
            for place, (file, tokens) in enumerate(sorted(message.items(), key=lambda item: item[::-1])):
                share = self._left // (len(message) - place)
                got = min(tokens, self._left if file in whole_only else share)
                if got < tokens and (file in whole_only or got < PIECE_MIN_TOKENS):
                    continue
                given[file] = got
                self._left -= got
        return given
