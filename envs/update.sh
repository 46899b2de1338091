#!/usr/bin/env bash
# Resolve the dependencies of pyproject.toml anew: envs/lock.txt and its conda form. Needs uv.
set -euo pipefail
cd "$(dirname "$0")/.."
header='# Exact versions for Linux and macOS, Python 3.11 to 3.13. Made by envs/update.sh from pyproject.toml.'
resolved=$(uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 \
  --no-header --no-annotate --quiet)
printf '%s\n%s\n' "$header" "$resolved" >envs/lock.txt
{
  echo '# The environment of envs/lock.txt for `--software-deployment-method conda`. Made by envs/update.sh.'
  printf 'channels:\n  - conda-forge\n  - nodefaults\ndependencies:\n  - python=3.12\n  - pip\n  - pip:\n'
  grep -v '^#' envs/lock.txt | sed "s/.*/      - \"&\"/"
} >envs/medtransfer.yaml
