"""The public verbs that hostile values go to.

What stays true: a verb of `ThreadStore`, `FileStore`, `Producer`, a handle of a turn or of `producers`, and a parameter
of one, that is neither here nor among those that are left out with a reason fails the test.
"""

from tests.integration.hostile.file_verbs import FILES, VALUE_VERBS
from tests.integration.hostile.pending_verbs import PENDING
from tests.integration.hostile.producer_verbs import PRODUCERS
from tests.integration.hostile.slack_verbs import SLACK
from tests.integration.hostile.store_verbs import STORE
from tests.integration.hostile.verb import Verb

VERBS: dict[str, Verb] = {**STORE, **FILES, **PRODUCERS, **PENDING, **SLACK, **VALUE_VERBS}
