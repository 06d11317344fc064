"""Runs of the hostile values: each verb, each parameter, each value, and what came of it."""

from collections.abc import Iterator
from dataclasses import dataclass

from conversation import errors
from tests.integration.hostile.stage import Stage
from tests.integration.hostile.store_verbs import NotJson
from tests.integration.hostile.values import VALUES
from tests.integration.hostile.verb import Verb
from tests.integration.hostile.verbs import VERBS

#: Characters of an error's text, at most: what was passed is quoted, not repeated.
TEXT_MAX_CHARS = 1_000
#: Errors of ours that blame the installation, where the call is what is wrong.
NO_ANSWERS = (errors.DatabaseUnavailable, errors.DatabaseRefused, errors.FileStoreUnavailable)


@dataclass(frozen=True, slots=True)
class Case:
    """One value for one parameter of one verb."""

    verb: str
    parameter: str
    value: str

    def __str__(self) -> str:
        return f"{self.verb}({self.parameter}={self.value})"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a case."""

    #: The type of what came back, or of the error with the field that it names: the same on each database.
    answer: str
    #: What must never be; None where all is well.
    problem: str | None = None


def list_cases() -> Iterator[Case]:
    """Yield all cases."""
    for name, verb in VERBS.items():
        for parameter in verb.arguments:
            for value in VALUES:
                # No line of an export holds that one: there is no memory to write it.
                if not (value == "bomb" and "_line_" in parameter):
                    yield Case(name, parameter, value)


def run(stage: Stage, case: Case) -> Outcome:
    """Run one case."""
    verb = VERBS[case.verb]
    names = [] if verb.is_alone else [name for name in verb.arguments if name != case.parameter]
    arguments = {name: verb.arguments[name](stage) for name in names}
    stage.committed_writes = 0
    try:
        result = stage.await_(verb.call(stage, **arguments, **{case.parameter: VALUES[case.value]()}))
    except NotJson:
        return Outcome("no JSON")
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the outcome
        field = error.field if isinstance(error, errors.InvalidInput) else ""
        return Outcome(f"{type(error).__name__} {field}".strip(), _find_problem(stage, verb, error))
    return Outcome(type(result).__name__)


def run_valid(stage: Stage, name: str) -> str | None:
    """Call a verb as it is meant to be called; returns what went wrong."""
    verb = VERBS[name]
    arguments = {} if verb.is_alone else {name: make(stage) for name, make in verb.arguments.items()}
    try:
        stage.await_(verb.call(stage, **arguments))
    except Exception as error:  # noqa: BLE001 - whatever it is, the call was well
        return None if isinstance(error, verb.raises) else f"{name}: {type(error).__name__}: {error}"
    return None


def _find_problem(stage: Stage, verb: Verb, error: Exception) -> str | None:
    text = str(error)
    if not isinstance(error, (errors.ThreadmillError, *verb.raises)) or isinstance(error, NO_ANSWERS):
        return f"{type(error).__module__}.{type(error).__name__}: {text[:200]}"
    if len(text) > TEXT_MAX_CHARS:
        return f"a text of {len(text)} characters"
    if not text.replace("\n", "").isprintable():
        return f"cannot be printed: {text[:200]!r}"
    if stage.committed_writes:
        return f"half written: {text[:200]}"
    return None
