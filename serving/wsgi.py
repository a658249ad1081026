"""For another host of WSGI, say `gunicorn 'serving.wsgi:app()'`, with the settings that STITCH_CONFIG names.

What serving.server adds is missing there: deadlines for bodies, a port for the probes, settings that are read again.
"""

from __future__ import annotations

from flask import Flask

from serving.app import create_app
from stitch.settings import load_settings


def app() -> Flask:
    """A function, so that importing this module reads no settings and connects to nothing."""
    return create_app(load_settings())
