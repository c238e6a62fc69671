#!/usr/bin/env bash
# Fetches python-socketio, as back ends have it, and schemathesis, which asks the API what its document says, into
# tests/.python. Without Python the tests that need them say that they are skipped: what the one puts on Redis is tested
# byte by byte besides, and the API by a generator of our own.
set -euo pipefail
cd "$(dirname "$0")"

if python3 -m venv .python && .python/bin/python -m pip install --quiet --disable-pip-version-check \
  python-socketio==5.18.1 aiohttp==3.14.5 redis==8.1.0 schemathesis==4.32.5; then
  # Later than this file: what it asks for is there.
  touch .python
  exit 0
fi
rm -rf .python
echo "python-socketio and schemathesis cannot be installed: the tests with them will be skipped" >&2
