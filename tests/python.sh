#!/usr/bin/env bash
# Fetches python-socketio, as back ends have it, into tests/.python. Without Python the test that needs it says that it is
# skipped: what it puts on Redis is tested byte by byte besides.
set -euo pipefail
cd "$(dirname "$0")"

if python3 -m venv .python && .python/bin/python -m pip install --quiet --disable-pip-version-check \
  python-socketio==5.18.1 redis==8.1.0 aiohttp==3.14.5; then
  exit 0
fi
rm -rf .python
echo "python-socketio cannot be installed: the test with it will be skipped" >&2
