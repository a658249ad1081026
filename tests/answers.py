"""What a test asks of the reader's app."""

from __future__ import annotations

from typing import Any

from flask.testing import FlaskClient


def get(client: FlaskClient, path: str, status: int = 200) -> Any:
    """The JSON at the path, which must be answered with that status."""
    answer = client.get(path)
    assert answer.status_code == status, answer.text
    return answer.get_json()
