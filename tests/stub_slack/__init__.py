"""A stub of Slack's API."""

from tests.stub_slack.server import StubSlack

__all__ = ["StubSlack"]
