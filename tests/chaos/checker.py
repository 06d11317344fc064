"""The verdict: what the database, the effects, the bucket and the receiver of webhooks say of what was accepted.

What stays true: nothing is taken from logs or from memory but what somebody outside was told; each finding names a
promise that was broken, and where.
"""

from tests.chaos.checks.cancels import check_cancels
from tests.chaos.checks.children import check_children
from tests.chaos.checks.decisions import check_decisions
from tests.chaos.checks.deliveries import check_deliveries
from tests.chaos.checks.effects import check_calls, check_effects
from tests.chaos.checks.ends import check_ends
from tests.chaos.checks.files import ReadBlob, check_blobs, check_files
from tests.chaos.checks.hand_overs import check_hand_overs
from tests.chaos.checks.history import check_answers, check_order, check_well_formed
from tests.chaos.checks.nested_agents import check_nested_agents
from tests.chaos.checks.policies import check_handles, check_policies
from tests.chaos.checks.schedules import check_schedules
from tests.chaos.checks.views import check_left_over, check_views
from tests.chaos.finding import Finding
from tests.chaos.picture import Picture
from tests.chaos.sent import Sent


def check(picture: Picture, sent: Sent, read_blob: ReadBlob) -> list[Finding]:
    """Every promise that is broken."""
    return [
        *check_ends(picture, sent),
        *check_policies(picture, sent),
        *check_handles(picture, sent),
        *check_order(picture, sent),
        *check_answers(picture),
        *check_well_formed(picture),
        *check_views(picture, sent),
        *check_effects(picture),
        *check_calls(picture, sent),
        *check_decisions(picture, sent),
        *check_children(picture),
        *check_nested_agents(picture),
        *check_hand_overs(picture, sent),
        *check_cancels(picture, sent),
        *check_deliveries(picture, sent),
        *check_schedules(picture, sent),
        *check_files(picture, sent),
        *check_blobs(picture, read_blob),
        *check_left_over(picture),
    ]
