"""Apps for a real server process: the gateway by itself, and mounted in an app that knows nothing of its streams."""

from fastapi import FastAPI

from producers.producer import Producer
from store.settings import current
from tests.integration.streams.scripted_gateway import ScriptedHub, delta, make_app

alone = make_app(Producer(current()), ScriptedHub(events=[delta(5)]))
mounted = FastAPI()
mounted.mount("/chat", make_app(Producer(current()), ScriptedHub(events=[delta(5)])))
