"""The Celery app. `celery -A tasks.app worker` starts here."""

from celery import Celery

from tasks import lifecycle, orphans
from tasks.untaken import outlive_the_broker

app = Celery("threadmill")
app.config_from_object("celeryconfig")
lifecycle.connect()
orphans.connect()
outlive_the_broker()
