"""The web application, for gunicorn or any other WSGI server: `app:app`."""

import os
import sys

from relay.bootstrap.web import build_web
from relay.common.errors import SettingsError
from relay.settings import load

GIVE_UP = 4  # the exit code at which gunicorn stops as a whole instead of starting the worker again

try:
    app = build_web(load(os.environ))
except SettingsError as error:
    sys.stderr.write("The settings can't be used:\n" + "".join(f"  {line}\n" for line in error.problems))
    sys.exit(GIVE_UP)
