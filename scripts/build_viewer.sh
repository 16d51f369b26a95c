#!/usr/bin/env bash
# Build the viewer's page: viewer_page/ into learn2talk/viewer/page, which is committed, so that
# users need no Node.js. Needs Node.js 20 and npm; fetches three and esbuild as package-lock.json says.
set -euo pipefail

cd "$(dirname "$0")/../viewer_page"
if ! command -v npm >/dev/null; then
  echo "build_viewer: npm is not here; install Node.js 20 or newer" >&2
  exit 1
fi
npm ci --no-audit --no-fund
npm run build
