#!/usr/bin/env bash
# Resolve the dependencies of pyproject.toml anew: envs/lock.txt, and in the same versions what jobs need as
# a conda environment. Needs uv.
set -euo pipefail
cd "$(dirname "$0")/.."
resolve() {
  uv pip compile pyproject.toml --universal --python-version 3.11 --no-header --no-annotate --quiet "$@"
}
header='# Exact versions for Linux and macOS, Python 3.11 to 3.13. Made by envs/update.sh from pyproject.toml.'
resolved=$(resolve --all-extras)
printf '%s\n%s\n' "$header" "$resolved" >envs/lock.txt
jobs=$(resolve --extra dicom --constraints envs/lock.txt)
{
  echo '# What jobs need of envs/lock.txt, for `--software-deployment-method conda`. Made by envs/update.sh.'
  printf 'channels:\n  - conda-forge\n  - nodefaults\ndependencies:\n  - python=3.12\n  - pip\n  - pip:\n'
  sed 's/.*/      - "&"/' <<<"$jobs"
} >envs/medtransfer.yaml
