"""Strict stub providers: one HTTP server that speaks each provider's own format and refuses what that one refuses.

What stays true: a request is checked as it came over the wire, and each refusal names the rule that was
broken. Signatures of thinking are checked against their text, without any state.

    with StubProviders() as stubs:
        stubs.script(Said("Hello."))
        model.complete(replace(request, model=stubs.model("gemini"), parameters=stubs.parameters("gemini")))
"""

from tests.stub_providers.answers import Said, sign
from tests.stub_providers.server import FORMATS, StubProviders

__all__ = ["FORMATS", "Said", "StubProviders", "sign"]
