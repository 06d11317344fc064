"""Agents in Slack: messages and mentions become turns, and the answers are written where people asked.

What stays true: nothing of Slack's own libraries is needed, and nothing is imported that the rest of the producers
does without.
"""

from producers.slack.app import SlackApp, create_slack_app
from producers.slack.bolt import attach_to_bolt
from producers.slack.workspace import SlackWorkspace, workspaces_of

__all__ = ["SlackApp", "SlackWorkspace", "attach_to_bolt", "create_slack_app", "workspaces_of"]
