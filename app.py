"""The web application, for gunicorn or any other WSGI server: `app:app`."""

import os

from relay.bootstrap.web import build_web, exiting_on_bad_settings
from relay.settings import load

GIVE_UP = 4  # the exit code at which gunicorn stops as a whole instead of starting the worker again

with exiting_on_bad_settings(GIVE_UP):
    app = build_web(load(os.environ))
